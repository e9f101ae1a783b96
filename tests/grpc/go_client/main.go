// Calls transport_demo with grpc-go: go_client HOST:PORT. Prints one line per case; exits 1 if any fails.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// raw passes bytes through instead of protobuf messages.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = append([]byte(nil), data...); return nil }
func (raw) Name() string                       { return "proto" }

var failed bool

func check(name string, ok bool, info ...any) {
	word := "ok  "
	if !ok {
		word, failed = "FAIL", true
	}
	fmt.Println(append([]any{word, name}, info...)...)
}

func call(connection *grpc.ClientConn, method string, message []byte, timeout time.Duration, options ...grpc.CallOption) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var reply []byte
	err := connection.Invoke(ctx, "/demo.Echo/"+method, &message, &reply, options...)
	return reply, err
}

func main() {
	encoding.RegisterCodec(raw{})
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer connection.Close()

	for _, size := range []int{0, 1, 16384, 70000, 5_000_000, 20_000_000} {
		message := bytes.Repeat([]byte{7, 11, 13}, size/3+1)[:size]
		reply, err := call(connection, "Echo", message, 60*time.Second)
		check(fmt.Sprint("echo ", size), err == nil && bytes.Equal(reply, message), err)
	}
	message := bytes.Repeat([]byte("abcdefg 1234567 "), 500)
	reply, err := call(connection, "Echo", message, 30*time.Second, grpc.UseCompressor(gzip.Name))
	check("gzip", err == nil && bytes.Equal(reply, message), err)

	var group sync.WaitGroup
	var mutex sync.Mutex
	bad := 0
	for i := 0; i < 200; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			message := bytes.Repeat([]byte{byte(i)}, i*997)
			reply, err := call(connection, "Echo", message, 60*time.Second)
			if err != nil || !bytes.Equal(reply, message) {
				mutex.Lock()
				bad++
				mutex.Unlock()
			}
		}()
	}
	group.Wait()
	check("200 calls at once", bad == 0, bad)

	_, err = call(connection, "Nope", nil, 30*time.Second)
	check("unknown method", status.Code(err) == codes.Unimplemented, err)
	_, err = call(connection, "Sleep", []byte("2000"), 300*time.Millisecond)
	check("deadline", status.Code(err) == codes.DeadlineExceeded, err)
	_, err = call(connection, "Fail", []byte("\x08too much: 100 % ü"), 30*time.Second)
	check("status", status.Code(err) == codes.ResourceExhausted && status.Convert(err).Message() == "too much: 100 % ü", err)
	if failed {
		os.Exit(1)
	}
}
