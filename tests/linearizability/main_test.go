package main

import (
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
)

func verdict(t *testing.T, lines ...string) porcupine.CheckResult {
	t.Helper()
	history, err := parse(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return judge(history)
}

func TestWhatIsLinearizable(t *testing.T) {
	cases := map[string]struct {
		lines []string
		want  porcupine.CheckResult
	}{
		"read after write": {[]string{
			`{"client":0,"key":"a","kind":"write","value":"1","call":1,"return":2,"outcome":"ok"}`,
			`{"client":1,"key":"a","kind":"read","value":"1","call":3,"return":4,"outcome":"ok"}`,
		}, porcupine.Ok},
		"stale read": {[]string{
			`{"client":0,"key":"a","kind":"write","value":"1","call":1,"return":2,"outcome":"ok"}`,
			`{"client":1,"key":"a","kind":"read","value":"","call":3,"return":4,"outcome":"ok"}`,
		}, porcupine.Illegal},
		"lost write": {[]string{
			`{"client":0,"key":"a","kind":"write","value":"1","call":1,"return":2,"outcome":"ok"}`,
			`{"client":0,"key":"a","kind":"write","value":"2","call":3,"return":4,"outcome":"ok"}`,
			`{"client":1,"key":"a","kind":"read","value":"1","call":5,"return":6,"outcome":"ok"}`,
		}, porcupine.Illegal},
		"an unknown write may show late, once it showed it stays": {[]string{
			`{"client":0,"key":"a","kind":"write","value":"1","call":1,"return":2,"outcome":"unknown"}`,
			`{"client":1,"key":"a","kind":"read","value":"","call":3,"return":4,"outcome":"ok"}`,
			`{"client":1,"key":"a","kind":"read","value":"1","call":5,"return":6,"outcome":"ok"}`,
		}, porcupine.Ok},
		"an unknown write does not come and go": {[]string{
			`{"client":0,"key":"a","kind":"write","value":"1","call":1,"return":2,"outcome":"unknown"}`,
			`{"client":1,"key":"a","kind":"read","value":"1","call":3,"return":4,"outcome":"ok"}`,
			`{"client":1,"key":"a","kind":"read","value":"","call":5,"return":6,"outcome":"ok"}`,
		}, porcupine.Illegal},
		"a refused write never shows": {[]string{
			`{"client":0,"key":"a","kind":"write","value":"1","call":1,"return":2,"outcome":"refused"}`,
			`{"client":1,"key":"a","kind":"read","value":"1","call":3,"return":4,"outcome":"ok"}`,
		}, porcupine.Illegal},
		"keys are apart": {[]string{
			`{"client":0,"key":"a","kind":"write","value":"1","call":1,"return":2,"outcome":"ok"}`,
			`{"client":1,"key":"b","kind":"read","value":"","call":3,"return":4,"outcome":"ok"}`,
		}, porcupine.Ok},
	}
	for name, c := range cases {
		if got := verdict(t, c.lines...); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}

func TestWhatIsNoHistory(t *testing.T) {
	for _, text := range []string{
		`{"kind":"append","outcome":"ok"}`, `{"kind":"read","outcome":"maybe"}`, `not json`,
		`{"kind":"read","outcome":"ok","call":5,"return":4}`,
	} {
		if _, err := parse(strings.NewReader(text)); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}
