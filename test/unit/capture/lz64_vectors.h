    { "plain text",
      "N4IgLg9g1gpgdiAXCADgCwMYH0JxiAGhBgDd4wkQBDQkAEwEsBnMBuDMLBuygV1pQAnCChiDWMJklA1EARgC"
      "+CoA",
      "{\"token\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"u\",\"properties\":{\"a\":1}}" },
    { "8-bit, 16-bit and astral characters",
      "N4IgLg9g1gpgdiAXCADgCwMYH0JxiAGhBgDd4wkQBDQkAEwEsBnMBuDMLBuygV1pQAnCChiDWMJklAVkaAJc"
      "AbRRAAEgGoJVgXg3AAHurABvKBfTRABfE0A=",
      "{\"token\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"u\",\"properties\":{\"t\":\"h\303\251llo \342\202\254 \360\237\230\200 "
      "\344\275\240\345\245\275\"}}" },
    { "a long run, words that grow into themselves",
      "N4IgLg9g1gpgdiAXCADgCwMYH0JxiAGhBgDd4wkQBDQkAEwEsBnMBuDMLBuygV1pQAnCChiDWMJklAVkVeQs"
      "VLlK1WvUbNW7Tt179Bw0eMnTVAEYWrlm9esAPR0+cvXb9x5cgAvt6A==",
      "{\"token\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"u\",\"properties\":{\"t\":\"aaaaaaaaaaaaaaaa"
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaababababababababababxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
      "xxxxxxxxxxxxxxxxxx\"}}" },
    { "a dictionary of many widths",
      "N4IgLg9g1gpgdiAXCADgCwMYH0JxiAGhBgDd4wkQBDQkAEwEsBnMBuDMLBuygV1pQAnCChiDWMJklAkkAbQA"
      "MBAJwBGZQQBsAdk0EATNtUFtCgCwrtAVgIAOCwGZjt1XrMONyhUvUaHDvSdjVX0LbWsDTQsrNRMrPWsNTW8D"
      "bQ00vVUrYwczRwjQi2VsgjNlPVs0glUUrI14k1iAsIKLVXaCAMaNMxTbD2rXAydq+0sbZLCc3QJs+pSnTxmz"
      "IztzcZUx/uNswJ6UmKSu7ON9UJMI10dYswaHGOqUnU9Akrz8m1U8uODy0qrkkorA97nplDcohcbMpzmpjNou"
      "h5PCl9AMzEN3KcxsoIlZ1pV4Zl1AQlEYNIY9DpjF4ihFbGNNCN9ENGcilODPF0jDlzuEJm1YlkwTEALpEADu"
      "lEAAgyAUwZAFEMgFUGQBeDIBRBkAVgyAeIZAFoMgH8GQBSDIB7BkAKQyAfQZACEMgHkGQAuDIBMhkAJgyASI"
      "ZACoMgE8GQAiDIBLBkAcQyATQZAH4MgEkGQB2DIBkhkAegyAYIZAHIMgGcGQAZDIBjBkAEQyAZQZAB4MgGEG"
      "QAWDIBYhkAGgyAXwZABIMgFsGQBJDIBdBkAQQyAWQZAE4MgHSGQBGDIBwhkASgyAdwZAEIMgHMGQAxDIB1Bh"
      "AAF9h0A=",
      "{\"token\":\"phc_one\",\"event\":\"a\",\"distinct_id\":\"u\",\"properties\":{\"v\":[0,919,676,271,70"
      "4,975,84,31,816,439,900,199,336,311,124,775,264,591,756,759,600,279,796,151,344,375,"
      "244,951,496,879,100,159,56,791,364,775,24,111,36,799,400,839,116,231,184,975,604,71,"
      "376,519,500,319,976,471,804,975,984,831,516,39,400,599,636,511,224,775,164,391,456,3"
      "59,100,679,96,351,444,375,144,751,196,479,600,559,356,991,464,775,924,911,736,399,90"
      "0,239,416,431,284,975,504,871,76,119,0,719,276,671,904,975,884,631,216,639,900,999,9"
      "36,711,324,775,64,191,156,959],\"w\":\"\343\201\200\343\201\245\343\202\212\343\201\225\343\201\272\343\201\205\343\201\252\343\202\217\343\201\232\343\201\277\343\201\212\343\201\257\343\202\224\343\201\237\343\202\204\343\201\217"
      "\343\201\264\343\202\231\343\201\244\343\202\211\343\201\224\343\201\271\343\201\204\343\201\251\343\202\216\343\201\231\343\201\276\343\201\211\343\201\256\343\202\223\343\201\236\343\202\203\343\201\216\343\201\263\343\202\230\343\201\243\343\202\210\343\201\223\343\201\270\343\201\203\343\201\250\343\202\215\343\201\230\343\201\275"
      "\343\201\210\343\201\255\343\202\222\343\201\235\343\202\202\343\201\215\343\201\262\343\202\227\343\201\242\343\202\207\343\201\222\343\201\267\343\201\202\343\201\247\343\202\214\343\201\227\"}}" },
