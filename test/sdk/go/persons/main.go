// A story of people with the real posthog-go: persons HOST TOKEN
package main

import (
	"os"
	"time"

	"github.com/posthog/posthog-go"
)

func main() {
	client, err := posthog.NewWithConfig(os.Args[2], posthog.Config{Endpoint: os.Args[1], BatchSize: 1})
	if err != nil {
		panic(err)
	}
	properties := posthog.NewProperties
	story := []posthog.Message{
		posthog.Capture{DistinctId: "anon-1", Event: "looked",
			Properties: properties().Set("n", 1).Set("$process_person_profile", false)},
		posthog.Identify{DistinctId: "ann", Properties: properties().Set("plan", "free").Set("from", "ad")},
		posthog.Identify{DistinctId: "ann", Properties: properties().Set("plan", "paid")},
		// The event's distinct_id is DistinctId.
		posthog.Alias{DistinctId: "ann", Alias: "ann-on-the-phone"},
		posthog.Capture{DistinctId: "ann-on-the-phone", Event: "on the phone", Properties: properties().Set("n", 3)},
		posthog.Capture{DistinctId: "bob", Event: "first",
			Properties: properties().Set("n", 4).Set("$set", properties().Set("email", "bob@example.com"))},
		posthog.GroupIdentify{Type: "company", Key: "acme",
			Properties: properties().Set("plan", "big").Set("seats", 5)},
		posthog.GroupIdentify{Type: "company", Key: "acme", Properties: properties().Set("seats", 6)},
		posthog.Capture{DistinctId: "bob", Event: "of a company", Properties: properties().Set("n", 5),
			Groups: posthog.NewGroups().Set("company", "acme").Set("team", "blue")},
	}
	for _, message := range story {
		if err := client.Enqueue(message); err != nil {
			panic(err)
		}
		time.Sleep(300 * time.Millisecond) // batches of one: in order
	}
	client.Close()
}
