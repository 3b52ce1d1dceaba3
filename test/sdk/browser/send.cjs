// Captures events with the real posthog-js. Prints one JSON object per event the SDK made (its before_send hook).
// Usage: node send.cjs HOST TOKEN COUNT BUNDLE
const { withPage } = require('./page.cjs');

const [host, token, count, bundle] = [process.argv[2], process.argv[3], Number(process.argv[4]), process.argv[5]];

function heard(text) {
    if (text.startsWith('EVENT ')) console.log(text.slice(6));
}

async function send(page) {
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
}

withPage(bundle, heard, send).catch((error) => { console.error(error); process.exit(1); });
