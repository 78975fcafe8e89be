package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

// Longest search per history; the histories of the tests take milliseconds.
const patience = 5 * time.Minute

type line struct {
	Client  int    `json:"client"`
	Key     string `json:"key"`
	Kind    string `json:"kind"`
	Value   string `json:"value"`
	Call    int64  `json:"call"`
	Return  int64  `json:"return"`
	Outcome string `json:"outcome"`
}

type request struct {
	key     string
	isWrite bool
	value   string
}

// register is one value per key. An unknown write that never happened is one that takes effect after everything else, so its
// return lies at the end of time and no further rule is needed.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(request).key
			byKey[key] = append(byKey[key], op)
		}
		parts := make([][]porcupine.Operation, 0, len(byKey))
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() interface{} { return "" },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		in := input.(request)
		if in.isWrite {
			return true, in.value
		}
		return output.(string) == state.(string), state
	},
	DescribeOperation: func(input, output interface{}) string {
		in := input.(request)
		if in.isWrite {
			return fmt.Sprintf("%s := %s", in.key, in.value)
		}
		return fmt.Sprintf("%s = %v", in.key, output)
	},
}

func parse(source io.Reader) ([]porcupine.Operation, error) {
	var history []porcupine.Operation
	scanner := bufio.NewScanner(source)
	scanner.Buffer(make([]byte, 0, 64*1024), 1024*1024)
	for number := 1; scanner.Scan(); number++ {
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		in := request{key: l.Key, isWrite: l.Kind == "write", value: l.Value}
		switch {
		case l.Kind != "write" && l.Kind != "read":
			return nil, fmt.Errorf("line %d: kind %q", number, l.Kind)
		case l.Outcome != "ok" && l.Outcome != "unknown" && l.Outcome != "refused":
			return nil, fmt.Errorf("line %d: outcome %q", number, l.Outcome)
		case l.Outcome == "refused", l.Outcome == "unknown" && !in.isWrite:
			continue
		case l.Outcome == "ok" && l.Return < l.Call:
			return nil, fmt.Errorf("line %d: returned before it was called", number)
		}
		end := l.Return
		if l.Outcome == "unknown" {
			end = math.MaxInt64
		}
		history = append(history, porcupine.Operation{ClientId: l.Client, Input: in, Call: l.Call, Output: l.Value, Return: end})
	}
	return history, scanner.Err()
}

func judge(history []porcupine.Operation) porcupine.CheckResult {
	result, _ := porcupine.CheckOperationsVerbose(register, history, patience)
	return result
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: linearizability history.jsonl")
		os.Exit(2)
	}
	file, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defer file.Close()
	history, err := parse(file)
	if err != nil || len(history) == 0 {
		fmt.Fprintf(os.Stderr, "no history in %s: %v\n", os.Args[1], err)
		os.Exit(2)
	}
	result := judge(history)
	fmt.Printf("%d operations: %s\n", len(history), result)
	if result != porcupine.Ok {
		os.Exit(1)
	}
}
