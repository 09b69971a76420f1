// A program on etcd's own Go client, for what etcdctl has no flag for. `install` builds it.
//
//	probe authority ENDPOINT    a put and a get under authorities that are no host names
//	probe no-leader ENDPOINT    calls and a watch that require a leader, at a member without one: what each answers
//	probe large-puts ENDPOINT   sixty puts of a megabyte, one after the other
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

func connect(endpoint string, options ...grpc.DialOption) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second, DialOptions: options, Logger: zap.NewNop(),
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return client
}

func say(what string, err error) {
	if err == nil {
		fmt.Println(what, "ok")
	} else {
		fmt.Println(what, err)
	}
}

func limited(parent context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(parent, 20*time.Second)
}

func main() {
	endpoint := os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	switch os.Args[1] {
	case "authority":
		for _, authority := range []string{"a%2Fb", "a/b", "%", "host:2379"} {
			client := connect(endpoint, grpc.WithAuthority(authority))
			one, done := limited(ctx)
			_, err := client.Put(one, "authority", authority)
			if err == nil {
				_, err = client.Get(one, "authority")
			}
			say(authority, err)
			done()
			client.Close()
		}
	case "no-leader":
		client := connect(endpoint)
		required := clientv3.WithRequireLeader(ctx)
		one, done := limited(required)
		defer done()
		_, err := client.Get(one, "a", clientv3.WithSerializable())
		say("get (serializable)", err)
		_, err = client.Get(ctx, "a", clientv3.WithSerializable())
		say("get (serializable, not required)", err)
		for answer := range client.Watch(one, "a") {
			if answer.Err() != nil {
				say("watch", answer.Err())
			}
		}
	case "large-puts":
		client := connect(endpoint)
		value := strings.Repeat("x", 1<<20)
		for number := 0; number < 60; number++ {
			if _, err := client.Put(ctx, fmt.Sprintf("large/%d", number%4), value); err != nil {
				say("put", err)
				os.Exit(1)
			}
		}
		say("puts", nil)
	}
}
