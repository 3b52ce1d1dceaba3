// A page of another origin than the server, with the real posthog-js bundle, in headless Chromium.
const { chromium } = require('playwright-core');
const http = require('node:http');
const fs = require('node:fs');

const html = `<!doctype html><meta charset="utf-8"><title>shop</title>
<button id="buy">Buy</button><script src="/array.js"></script>`;

// Calls use(page, problems); problems gathers what the console calls an error, heard(text) hears the rest.
exports.withPage = async function withPage(bundle, heard, use) {
    const server = http.createServer((request, response) => {
        const js = request.url.startsWith('/array.js');
        response.setHeader('Content-Type', js ? 'text/javascript' : 'text/html');
        response.end(js ? fs.readFileSync(bundle) : html);
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
        if (message.type() === 'error') problems.push(message.text());
        else heard(message.text());
    });
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await use(page);
    await page.goto('about:blank'); // $pageleave
    await page.waitForTimeout(500);
    await browser.close();
    server.close();
    if (process.env.EXPECT_NO_ERRORS && problems.length > 0) {
        console.error(problems.join('\n'));
        process.exit(1);
    }
};
