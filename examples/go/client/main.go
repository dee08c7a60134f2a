// Sends a text and reads the events that follow, with nothing but Go's own library.
//
//	CHASQUI=http://localhost:8000/api/v1 KEY=chq_… TO=5511999990001 go run ./client
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Longer than the longest wait of ours.
var client = http.Client{Timeout: 40 * time.Second}

type reply struct {
	Success bool            `json:"success"`
	Data    json.RawMessage `json:"data"`
	Meta    struct {
		NextCursor   string `json:"nextCursor"`
		LatestCursor string `json:"latestCursor"`
	} `json:"meta"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func call(method, path string, body any, headers map[string]string) (*reply, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, env("CHASQUI", "http://localhost:8000/api/v1")+path, content)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "ApiKey "+os.Getenv("KEY"))
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var got reply
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		return nil, err
	}
	if got.Error != nil {
		return nil, fmt.Errorf("%s: %s", got.Error.Code, got.Error.Message)
	}
	return &got, nil
}

func run() error {
	// Where the log stands before we send: everything after it is ours to read.
	head, err := call("GET", "/events?limit=1", nil, nil)
	if err != nil {
		return err
	}
	after := head.Meta.LatestCursor

	// The same key again gives the same answer, never a second message. Take something of yours, such as an order's number.
	sent, err := call("POST", "/messages/send-text",
		map[string]any{"recipient": os.Getenv("TO"), "message": "Hello from Go", "queueIfOffline": true, "async": true},
		map[string]string{"Idempotency-Key": env("ORDER", fmt.Sprintf("order-%d", time.Now().UnixNano()))})
	if err != nil {
		return err
	}
	var message struct{ ID, Status string }
	if err := json.Unmarshal(sent.Data, &message); err != nil {
		return err
	}
	fmt.Println("accepted", message.ID, message.Status)

	rounds, err := strconv.Atoi(env("ROUNDS", strconv.Itoa(math.MaxInt)))
	if err != nil {
		return err
	}
	// Waits up to 20 s for the next events. Keep the cursor, and nothing is missed or seen twice, however long you were away.
	for ; rounds > 0; rounds-- {
		page, err := call("GET", "/events?after="+after+"&types=message.*&wait=20", nil, nil)
		if err != nil {
			return err
		}
		var events []struct {
			Cursor, Type string
			Data         struct{ ID string }
		}
		if err := json.Unmarshal(page.Data, &events); err != nil {
			return err
		}
		for _, event := range events {
			fmt.Println("event", event.Cursor, event.Type, event.Data.ID)
		}
		after = page.Meta.NextCursor
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
