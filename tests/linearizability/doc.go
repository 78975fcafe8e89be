// Command linearizability judges a recorded history of reads and writes with Porcupine.
//
//	linearizability history.jsonl
//
// One operation a line:
//
//	{"client":0,"key":"k1","kind":"write"|"read","value":"17","call":12,"return":34,"outcome":"ok"|"unknown"|"refused"}
//
// call and return are nanoseconds of one monotonic clock. A write of unknown fate may take effect at any time after its call, or
// never; a refused one never; a read that got no answer says nothing. "value" of a read that found nothing is "".
// Keys are judged one by one: each is a register. Exit code 0: linearizable; 1: not, or undecided in the time given; 2: no history.
package main
