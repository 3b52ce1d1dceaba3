// A story of people with the real posthog-js: node persons.cjs HOST TOKEN BUNDLE
// Prints the distinct ids that the SDK made for the two visitors.
const { withPage } = require('./page.cjs');

const [host, token, bundle] = process.argv.slice(2);

async function tell(page) {
    const does = (step) => page.evaluate(step).then(() => page.waitForTimeout(600));
    await page.evaluate(([host, token]) => window.posthog.init(token, {
        api_host: host, request_queue_config: { flush_interval_ms: 100 }, autocapture: false,
    }), [host, token]);
    await page.waitForTimeout(1500);
    const first = await page.evaluate(() => window.posthog.get_distinct_id());
    await does(() => window.posthog.capture('looked', { n: 1 }));
    await does(() => window.posthog.identify('ann', { plan: 'free' }, { from: 'ad' }));
    await does(() => window.posthog.setPersonProperties({ plan: 'paid' }, { from: 'mail' }));
    await does(() => window.posthog.alias('ann-on-the-phone'));
    await does(() => window.posthog.group('company', 'acme', { plan: 'big', seats: 5 }));
    await does(() => window.posthog.capture('of a company', { n: 2 }));
    await does(() => window.posthog.reset());
    const second = await page.evaluate(() => window.posthog.get_distinct_id());
    await does(() => window.posthog.capture('looked', { n: 3 }));
    await does(() => window.posthog.identify('bob', { plan: 'free' }));
    await does(() => window.posthog.capture('at home', { n: 4 }));
    console.log(JSON.stringify({ first, second }));
}

withPage(bundle, () => {}, tell).catch((error) => { console.error(error); process.exit(1); });
