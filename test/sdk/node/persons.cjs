// A story of people with the real posthog-node: node persons.cjs HOST TOKEN
const { PostHog } = require('posthog-node');

async function main() {
    const client = new PostHog(process.argv[3], { host: process.argv[2], flushAt: 1, flushInterval: 100 });
    const problems = [];
    client.on('error', (error) => problems.push(String(error)));
    // One after the other: the story is told in order.
    const tell = async (step) => { step(); await client.flush(); };

    await tell(() => client.capture({ distinctId: 'anon-1', event: 'looked', properties: { n: 1, $process_person_profile: false } }));
    await tell(() => client.identify({ distinctId: 'ann', properties: { plan: 'free', $set_once: { from: 'ad' }, $anon_distinct_id: 'anon-1' } }));
    await tell(() => client.identify({ distinctId: 'ann', properties: { $set: { plan: 'paid' }, $set_once: { from: 'mail' } } }));
    await tell(() => client.alias({ distinctId: 'ann', alias: 'ann-on-the-phone' }));
    await tell(() => client.capture({ distinctId: 'ann-on-the-phone', event: 'on the phone', properties: { n: 3 } }));
    await tell(() => client.capture({ distinctId: 'bob', event: 'first', properties: { n: 4, $set: { email: 'bob@example.com' } } }));
    // Both have a person by now, and ann's is identified: refused.
    await tell(() => client.alias({ distinctId: 'bob', alias: 'ann' }));
    await tell(() => client.groupIdentify({ groupType: 'company', groupKey: 'acme', properties: { plan: 'big', seats: 5 } }));
    await tell(() => client.groupIdentify({ groupType: 'company', groupKey: 'acme', properties: { seats: 6 } }));
    await tell(() => client.capture({ distinctId: 'bob', event: 'of a company', properties: { n: 5 }, groups: { company: 'acme', team: 'blue' } }));
    await client.shutdown();
    if (problems.length > 0) {
        console.error(problems.join('\n'));
        process.exit(1);
    }
}

main().catch((error) => { console.error(error); process.exit(1); });
