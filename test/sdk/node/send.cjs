// Sends events with the real posthog-node. Prints one JSON object per event it was told to send.
// Usage: node send.cjs HOST TOKEN COUNT
const { PostHog } = require('posthog-node');
const { randomUUID } = require('node:crypto');

const [host, token, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];

async function main() {
    const client = new PostHog(token, { host, flushAt: 20, flushInterval: 200, fetchRetryDelay: 300 });
    const errors = [];
    client.on('error', (e) => errors.push(String(e)));
    const began = Date.now();
    for (let i = 0; i < count; i++) {
        const uuid = randomUUID();
        const timestamp = new Date(began - i * 60000);
        client.capture({
            uuid,
            distinctId: `user-${i % 7}`,
            event: `node ${i % 3}`,
            timestamp,
            properties: { n: i, price: 54.25, lone: '\ud83d', nul: '\u0000', none: null, list: [1, null], nan: NaN },
        });
        console.log(JSON.stringify({ uuid, event: `node ${i % 3}`, distinct_id: `user-${i % 7}`, n: i, timestamp: timestamp.toISOString() }));
    }
    await client.shutdown(60000);
    if (process.env.EXPECT_NO_ERRORS && errors.length > 0) {
        console.error(errors.join('\n'));
        process.exit(1);
    }
}

main();
