// Package config reads certmedic.yml: it decodes strictly, fills in defaults, validates,
// and says everything that is wrong at once, each with its line. [Load] is for the
// daemon and the commands, [Parse] for text that is no file, [Default] for a host
// without a configuration; [Certificates] maps the result to the nouns of the house.
//
// The types of this package are the form of the file and nothing else. Each field's tags
// are the single source of the decoder's rules, of the JSON Schema ([Schema]) and of
// docs/configuration.md:
//
//	yaml     the key
//	doc      what it means, one sentence or more
//	required "true": the key must be there
//	enum     the accepted values, separated by spaces
//	later    values that are known, but not supported by this version
//	single   "true": one string stands for a list of one
//	form     what a string has to look like, for the Schema: path, url or duration
//
// and blank fields carry what is said about a mapping as a whole:
//
//	oneof       exactly one of these keys must be there
//	unsupported keys that are known but refused by this version
//	ignored     keys that are known and harmless to ignore: a warning, with the note
//
// Reading a configuration looks at files (their owners, and whether they are there), and
// executes nothing. Environment variables are not expanded.
package config
