// A webhook receiver with nothing but Go's own library.
//
//	WEBHOOK_SECRET=whsec_… PORT=9000 go run ./receiver
//
// It refuses what is not signed, takes each event once, and says when one comes after a newer one of its session.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	tolerance = 5 * time.Minute
	maxBytes  = 2 << 20
)

type event struct {
	ID      string `json:"id"`
	Event   string `json:"event"`
	Cursor  string `json:"cursor"`
	Session *struct {
		ID string `json:"id"`
	} `json:"session"`
	Data json.RawMessage `json:"data"`
}

func keyOf(secret string) ([]byte, error) {
	if strings.HasPrefix(secret, "whsec_") {
		return base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	}
	return []byte(secret), nil
}

// isSigned tells whether the signature is right and fresh. The body is the bytes as they came.
func isSigned(key []byte, header http.Header, body []byte, now time.Time) bool {
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseUint(timestamp, 10, 62)
	if id == "" || err != nil {
		return false
	}
	if age := now.Sub(time.Unix(int64(seconds), 0)); age > tolerance || age < -tolerance {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	right := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	// During a rotation there are two, parted by a blank. The text is compared, not what it decodes to.
	for _, given := range strings.Split(header.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(given), right) {
			return true
		}
	}
	return false
}

// receiver remembers in memory; a real one keeps both in its database, in the transaction that stores the event.
type receiver struct {
	key    []byte
	mutex  sync.Mutex
	seen   map[string]bool
	newest map[string]string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxBytes))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if !isSigned(r.key, request.Header, body, time.Now()) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var received event
	if err := json.Unmarshal(body, &received); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.takeOnce(request.Header.Get("webhook-id"), received)
}

func (r *receiver) takeOnce(id string, received event) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	// The same id comes again when our answer got lost: say yes, and do nothing.
	if r.seen[id] {
		return
	}
	lane := ""
	if received.Session != nil {
		lane = received.Session.ID
	}
	// Cursors have one length and sort as text. A late event must not overwrite a newer state.
	late := received.Cursor < r.newest[lane]
	take(received, late)
	r.seen[id] = true
	if !late {
		r.newest[lane] = received.Cursor
	}
}

// take is yours to write. Store the event and return; do the work later: an answer after 15 s counts as a failure.
func take(received event, late bool) {
	line, _ := json.Marshal(map[string]any{"id": received.ID, "event": received.Event, "cursor": received.Cursor, "late": late})
	fmt.Println(string(line))
}

func main() {
	key, err := keyOf(os.Getenv("WEBHOOK_SECRET"))
	if err != nil {
		log.Fatal("WEBHOOK_SECRET is not base64 behind whsec_")
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "9000"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %d\n", listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{
		Handler:           &receiver{key: key, seen: map[string]bool{}, newest: map[string]string{}},
		ReadTimeout:       15 * time.Second,
		ReadHeaderTimeout: 5 * time.Second,
	}
	log.Fatal(server.Serve(listener))
}
