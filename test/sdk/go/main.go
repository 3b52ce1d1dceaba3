// Sends events with the real posthog-go. Prints one JSON object per event it was told to send.
// Usage: send HOST TOKEN COUNT; every third event has no uuid, as the SDK's default is.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/posthog/posthog-go"
)

func main() {
	count, _ := strconv.Atoi(os.Args[3])
	client, err := posthog.NewWithConfig(os.Args[2], posthog.Config{
		Endpoint:  os.Args[1],
		BatchSize: 20,
		Interval:  200 * time.Millisecond,
	})
	if err != nil {
		panic(err)
	}
	zone := time.FixedZone("IST", 5*3600+1800)
	began := time.Now().In(zone)
	for i := 0; i < count; i++ {
		id := ""
		if i%3 != 0 {
			id = uuid.NewString()
		}
		when := began.Add(-time.Duration(i)*time.Minute - time.Duration(i))
		event := posthog.Capture{
			Uuid:       id,
			DistinctId: fmt.Sprintf("user-%d", i%7),
			Event:      fmt.Sprintf("go %d", i%3),
			Timestamp:  when,
			Properties: posthog.NewProperties().Set("n", i).Set("price", 54.25).Set("html", "<a>&\u2028"),
		}
		if err := client.Enqueue(event); err != nil {
			panic(err)
		}
		line, _ := json.Marshal(map[string]any{"uuid": id, "event": event.Event, "distinct_id": event.DistinctId,
			"n": i, "timestamp": when.Format(time.RFC3339Nano)})
		fmt.Println(string(line))
	}
	// Close gives up on retries at once: let the queue drain first.
	wait, _ := strconv.Atoi(os.Getenv("WAIT_MS"))
	time.Sleep(time.Duration(wait) * time.Millisecond)
	client.Close()
}
