// Loads the real posthog-js bundle in headless Chromium, on a page of another origin than the server,
// and captures events. Prints one JSON object per event the SDK made (its before_send hook).
// Usage: node send.cjs HOST TOKEN COUNT BUNDLE
const { chromium } = require('playwright-core');
const http = require('node:http');
const fs = require('node:fs');

const [host, token, count, bundle] = [process.argv[2], process.argv[3], Number(process.argv[4]), process.argv[5]];
const page_html = `<!doctype html><meta charset="utf-8"><title>shop</title>
<button id="buy">Buy</button><script src="/array.js"></script>`;

async function main() {
    const server = http.createServer((request, response) => {
        const js = request.url.startsWith('/array.js');
        response.setHeader('Content-Type', js ? 'text/javascript' : 'text/html');
        response.end(js ? fs.readFileSync(bundle) : page_html);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

    const browser = await chromium.launch({
        executablePath: '/usr/bin/chromium',
        args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
            '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    });
    // The SDK drops events of browsers that call themselves headless, and of automated ones.
    const page = await browser.newPage({
        userAgent: `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/${browser.version()} Safari/537.36`,
    });
    await page.addInitScript(() => Object.defineProperty(navigator, 'webdriver', { get: () => false }));
    const problems = [];
    page.on('console', (message) => {
        if (message.text().startsWith('EVENT ')) console.log(message.text().slice(6));
        else if (message.type() === 'error') problems.push(message.text());
    });
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.evaluate(([host, token]) => {
        window.posthog.init(token, {
            api_host: host,
            request_queue_config: { flush_interval_ms: 300 },
            before_send: (event) => {
                console.log('EVENT ' + JSON.stringify({
                    uuid: event.uuid, event: event.event, distinct_id: event.properties.distinct_id,
                    n: event.properties.n ?? null, timestamp: new Date(event.timestamp).toISOString(),
                }));
                return event;
            },
        });
    }, [host, token]);
    // The remote configuration has arrived when autocapture is on.
    await page.waitForTimeout(1500);
    await page.click('#buy');
    for (let i = 0; i < count; i++) {
        await page.evaluate((i) => window.posthog.capture(`browser ${i % 3}`, { n: i, price: 54.25, snow: '☃ \u2028' }), i);
        if (i % 10 === 9) await page.waitForTimeout(350);
    }
    await page.waitForTimeout(Number(process.env.WAIT_MS ?? 2500));
    await page.goto('about:blank'); // $pageleave
    await page.waitForTimeout(500);
    await browser.close();
    server.close();
    if (process.env.EXPECT_NO_ERRORS && problems.length > 0) {
        console.error(problems.join('\n'));
        process.exit(1);
    }
}

main().catch((error) => { console.error(error); process.exit(1); });
