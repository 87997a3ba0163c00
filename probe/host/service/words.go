package service

import (
	_ "embed" // the lists of words
	"strings"

	"github.com/certmedic/certmedic/internal/hint"
)

// The words that services know, one on each line; lines with # say what the columns are.
var (
	//go:embed words/nginx.txt
	nginxWords string
	//go:embed words/apache.txt
	apacheWords string
	//go:embed words/apache_modules.txt
	apacheModules string
	//go:embed words/haproxy.txt
	haproxyWords string
	//go:embed words/postfix.txt
	postfixWords string
	//go:embed words/dovecot.txt
	dovecotWords string
)

// rows returns the columns of each line of a list.
func rows(list string) [][]string {
	var out [][]string
	for line := range strings.Lines(list) {
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			out = append(out, words)
		}
	}
	return out
}

// vocabulary is the words that are known at some place, with what comes behind each.
type vocabulary map[string][][]string

// wordsOf returns the lines of a list by the word in a column.
func wordsOf(list string, column int) vocabulary {
	v := vocabulary{}
	for _, row := range rows(list) {
		v[row[column]] = append(v[row[column]], row[column+1:])
	}
	return v
}

// resembles returns the hint for a word that is not known but is nearly one that is; empty
// where it may well be one of a module or a version that is not known here.
func (v vocabulary) resembles(word string) string {
	names := make([]string, 0, len(v))
	for name := range v {
		if abs(len(name)-len(word)) <= 2 {
			names = append(names, name)
		}
	}
	return hint.For(word, names)
}

func abs(n int) int { return max(n, -n) }
