// Prints every key of distribution's configuration file: its path, its type and the
// environment variable that sets it, tab-separated. See ../distribution-3.1.2.keys.
package main

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/configuration"
)

func main() {
	walk(reflect.TypeFor[configuration.Configuration](), "", "REGISTRY")
}

func walk(t reflect.Type, path, variable string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		fmt.Printf("%s\tduration\t%s\n", path, variable)
	case t == reflect.TypeFor[configuration.Parameters]():
		fmt.Printf("%s.*\tany\t%s_*\n", path, variable)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			field := t.Field(i)
			name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if options == "inline" {
				walk(field.Type, path, variable)
				continue
			}
			if name == "" {
				name = strings.ToLower(field.Name) // what yaml.v2 does without a tag
			}
			walk(field.Type, strings.TrimPrefix(path+"."+name, "."), variable+"_"+strings.ToUpper(field.Name))
		}
	case t.Kind() == reflect.Map:
		walk(t.Elem(), path+".*", variable+"_*")
	case t.Kind() == reflect.Slice:
		walk(t.Elem(), path+"[]", variable+"_#")
	case t.Kind() == reflect.Interface:
		fmt.Printf("%s\tany\t%s\n", path, variable)
	default:
		fmt.Printf("%s\t%s\t%s\n", path, t.Kind(), variable)
	}
}
