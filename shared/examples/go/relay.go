// Ask mt5relay with redigo. go-redis takes the same commands: EVALSHA, XADD, XREAD, GET.
//
//	go run . ask ACCOUNT OPERATION [ARGUMENTS [TIMEOUT_MS [ID]]]
//	go run . snapshot ACCOUNT | health | events [COUNT]
//
// REDIS_URL, MT5_TERMINAL_ID and MT5_KEY_PREFIX as everywhere; SUBMIT_LUA says where submit.lua is.
// Prints JSON; the exit status is 0 for an answer and 1 for an error.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

const (
	queueLimit       = 10_000 // requests that may wait; past them QUEUE_FULL
	markerOutlivesMs = 60_000
	submitKeys       = 7
	grace            = time.Second // past the deadline; the worker itself says DEADLINE_EXCEEDED
	block            = time.Second // that one read waits
	pause            = 200 * time.Millisecond
)

// Error is a failure, as it stands in a reply.
type Error struct {
	Code         string `json:"code"`
	Message      string `json:"message"`
	Retryable    bool   `json:"retryable"`
	RetryAfterMs *int64 `json:"retry_after_ms"`
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Request is an entry of the stream.
type Request struct {
	V         int            `json:"v"`
	ID        string         `json:"id"`
	Account   string         `json:"account"`
	Operation string         `json:"operation"`
	Arguments map[string]any `json:"arguments"`
	TimeoutMs int64          `json:"timeout_ms"`
	ReplyTo   string         `json:"reply_to"`
}

// Relay asks one terminal, one question at a time; other goroutines make their own.
type Relay struct {
	pool   *redis.Pool
	submit *redis.Script
	tag    string
	name   string
	stream string
}

// Open reads submit.lua: copy it from the release that your worker runs.
func Open(url, terminal, prefix, submitLua string) (*Relay, error) {
	source, err := os.ReadFile(submitLua)
	if err != nil {
		return nil, err
	}
	pool := &redis.Pool{MaxIdle: 2, Dial: func() (redis.Conn, error) {
		return redis.DialURL(url, redis.DialConnectTimeout(2*time.Second),
			redis.DialReadTimeout(block+2*time.Second), redis.DialWriteTimeout(2*time.Second))
	}}
	tag := fmt.Sprintf("{%s:%s}", prefix, terminal)
	name := "go-" + randomID()
	return &Relay{pool, redis.NewScript(submitKeys, string(source)), tag, name,
		tag + ":replies:" + name}, nil
}

// Ask returns the reply as it came. Whatever breaks on the way, an id is never executed twice.
func (r *Relay) Ask(account, operation string, arguments map[string]any,
	timeout time.Duration, id string) (json.RawMessage, error) {
	giveUp := time.Now().Add(timeout + grace)
	request := Request{1, id, account, operation, arguments, timeout.Milliseconds(), r.name}
	for {
		reply, err := r.answered(request, giveUp)
		var failed *Error
		var refused redis.Error // what the server said, e.g. NOPERM
		switch {
		case err == nil:
			return unlessError(reply)
		case errors.As(err, &failed):
			return nil, failed
		case errors.As(err, &refused) || time.Now().Add(pause).After(giveUp):
			return nil, &Error{Code: "REDIS_UNAVAILABLE", Message: err.Error(), Retryable: true}
		}
		time.Sleep(pause) // then the same id again
	}
}

func (r *Relay) answered(request Request, giveUp time.Time) ([]byte, error) {
	left := (time.Until(giveUp) - grace).Milliseconds()
	if left < 1 {
		left = 1
	}
	if left < request.TimeoutMs {
		request.TimeoutMs = left
	}
	// One's own reply stream, before the request: the worker writes to it, but never makes it.
	cursor, err := redis.String(r.do("XADD", r.stream, "MAXLEN", "~", 1000, "*", "hello", ""))
	if err != nil {
		return nil, err
	}
	if _, err := r.do("PEXPIRE", r.stream, left+60_000); err != nil {
		return nil, err
	}
	said, err := r.submitted(request)
	if err != nil {
		return nil, err
	}
	word, _ := redis.String(said[0], nil)
	switch word {
	case "stored":
		return redis.Bytes(said[1], nil)
	case "accepted", "attached":
		return r.awaited(request.ID, cursor, giveUp)
	case "refused":
		code, _ := redis.String(said[1], nil)
		failed := &Error{Code: code, Message: "refused", Retryable: true}
		if wait := said[2].(int64); wait > 0 {
			failed.RetryAfterMs = &wait
		}
		return nil, failed
	case "conflict":
		return nil, &Error{Code: "VALIDATION_FAILED", Message: "id: another question has it"}
	}
	return nil, &Error{Code: "INTERNAL", Message: "submit.lua said " + word}
}

func (r *Relay) submitted(request Request) ([]any, error) {
	var words []any
	for _, name := range []string{"requests", "lease", "health", "queue", "shares",
		"request:" + request.ID, "reply:" + request.ID} {
		words = append(words, r.tag+":"+name)
	}
	words = append(words, r.stream, queueLimit, 0, markerOutlivesMs,
		fingerprint(request), compact(request), request.TimeoutMs, request.Account)
	conn := r.pool.Get()
	defer conn.Close()
	answers, err := redis.Values(r.submit.Do(conn, words...)) // by digest, else by source
	if err != nil {
		return nil, err
	}
	return redis.Values(answers[1], nil) // after the server's time: one for each request
}

func (r *Relay) awaited(id, cursor string, giveUp time.Time) ([]byte, error) {
	for left := time.Until(giveUp); left > 0; left = time.Until(giveUp) {
		if left > block {
			left = block
		}
		found, err := redis.Values(
			r.do("XREAD", "BLOCK", left.Milliseconds()+1, "STREAMS", r.stream, cursor))
		if err != nil && !errors.Is(err, redis.ErrNil) { // ErrNil: nothing came
			return nil, err
		}
		for _, entry := range entriesOf(found) {
			cursor = entry.id
			if reply, ok := entry.fields[id]; ok {
				return []byte(reply), nil
			}
		}
	}
	reply, err := redis.Bytes(r.do("GET", r.tag+":reply:"+id)) // the durable one
	if !errors.Is(err, redis.ErrNil) {
		return reply, err
	}
	// Nobody waits any more: the worker may drop it, and no login is made for it.
	if _, err := r.do("HDEL", r.tag+":request:"+id, "to:"+r.stream); err != nil {
		return nil, err
	}
	return nil, &Error{Code: "DEADLINE_EXCEEDED", Message: "no reply; ask again with the same id",
		Retryable: true}
}

type entry struct {
	id     string
	fields map[string]string
}

// The entries of the one stream that XREAD was asked for.
func entriesOf(found []any) []entry {
	if len(found) == 0 {
		return nil
	}
	stream, _ := redis.Values(found[0], nil)
	raw, _ := redis.Values(stream[1], nil)
	return entries(raw)
}

func entries(raw []any) []entry {
	var read []entry
	for _, one := range raw {
		pair, _ := redis.Values(one, nil)
		id, _ := redis.String(pair[0], nil)
		fields, _ := redis.StringMap(pair[1], nil)
		read = append(read, entry{id, fields})
	}
	return read
}

func unlessError(reply []byte) (json.RawMessage, error) {
	var read struct {
		Status string `json:"status"`
		Error  *Error `json:"error"`
	}
	if err := json.Unmarshal(reply, &read); err != nil {
		return nil, err
	}
	if read.Status == "error" {
		return nil, read.Error
	}
	return reply, nil
}

// Snapshot is the last good full read, nil where there is none. It says how old it is: as_of_ms.
func (r *Relay) Snapshot(account string) (any, error) {
	found, err := redis.Strings(
		r.do("HMGET", r.tag+":snapshot:"+account, "as_of", "synchronized", "data"))
	if err != nil || found[2] == "" {
		return nil, err
	}
	asOf, err := strconv.ParseInt(found[0], 10, 64)
	return map[string]any{"as_of_ms": asOf, "synchronized": found[1],
		"data": json.RawMessage(found[2])}, err
}

// Health is empty where no worker lives. All values are text.
func (r *Relay) Health() (map[string]string, error) {
	return redis.StringMap(r.do("HGETALL", r.tag+":health"))
}

// Events are the newest ones, oldest first. To follow them: XREAD BLOCK from the last id.
func (r *Relay) Events(count int64) ([]json.RawMessage, error) {
	raw, err := redis.Values(r.do("XREVRANGE", r.tag+":events", "+", "-", "COUNT", count))
	newest := entries(raw)
	found := make([]json.RawMessage, len(newest))
	for i, one := range newest {
		found[len(newest)-1-i] = json.RawMessage(one.fields["event"])
	}
	return found, err
}

// Close takes the reply stream away.
func (r *Relay) Close() {
	r.do("UNLINK", r.stream)
	r.pool.Close()
}

func (r *Relay) do(command string, words ...any) (any, error) {
	conn := r.pool.Get()
	defer conn.Close()
	return conn.Do(command, words...)
}

// What is asked, whoever asks and until when: by it `submit` knows a repetition.
func fingerprint(request Request) string {
	asked := compact([]any{request.Account, request.Operation, request.Arguments})
	digest := sha256.Sum256([]byte(asked))
	return hex.EncodeToString(digest[:16])
}

// JSON with sorted keys and with letters as they are: `&` stays `&`.
func compact(value any) string {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err) // these types have no values that can't be encoded
	}
	return strings.TrimSuffix(body.String(), "\n")
}

func randomID() string {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		panic(err)
	}
	return hex.EncodeToString(id)
}

func main() {
	words := os.Args[1:]
	if len(words) == 0 {
		fmt.Fprintln(os.Stderr, "usage: relay ask|snapshot|health|events …")
		os.Exit(2)
	}
	relay, err := Open(setting("REDIS_URL", "redis://127.0.0.1:6379/0"),
		setting("MT5_TERMINAL_ID", "main"), setting("MT5_KEY_PREFIX", "mt5"),
		setting("SUBMIT_LUA", "../../mt5relay_shared/scripts/submit.lua"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	found, err := relay.command(words)
	relay.Close()
	var failed *Error
	if errors.As(err, &failed) {
		fmt.Println(compact(map[string]any{"status": "error", "error": failed}))
		os.Exit(1)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(compact(found))
}

func (r *Relay) command(words []string) (any, error) {
	word := func(place int, otherwise string) string {
		if place < len(words) {
			return words[place]
		}
		return otherwise
	}
	switch words[0] {
	case "ask":
		var arguments map[string]any
		decoder := json.NewDecoder(strings.NewReader(word(3, "{}")))
		decoder.UseNumber() // times in ms stay whole
		if err := decoder.Decode(&arguments); err != nil {
			return nil, err
		}
		timeout, err := strconv.Atoi(word(4, "10000"))
		if err != nil {
			return nil, err
		}
		return r.Ask(word(1, ""), word(2, ""), arguments,
			time.Duration(timeout)*time.Millisecond, word(5, randomID()))
	case "snapshot":
		return r.Snapshot(word(1, ""))
	case "health":
		return r.Health()
	case "events":
		count, err := strconv.ParseInt(word(1, "10"), 10, 64)
		if err != nil {
			return nil, err
		}
		return r.Events(count)
	}
	return nil, fmt.Errorf("unknown command %q", words[0])
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
