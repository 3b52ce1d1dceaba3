module tailrace-sdk-tests

go 1.19

require (
	github.com/google/uuid v1.6.0
	github.com/posthog/posthog-go v1.5.2
)
