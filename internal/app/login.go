package app

import (
	"fmt"
	"os"

	"github.com/goccy/go-yaml"
)

// hasLogin reports whether a web configuration of exporter-toolkit asks for a login. The
// toolkit itself checks the rest of the file when it serves.
func hasLogin(file string) (bool, error) {
	if file == "" {
		return false, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return false, fmt.Errorf("reading the web configuration: %w", err)
	}
	var c struct {
		Users map[string]string `yaml:"basic_auth_users"`
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		return false, fmt.Errorf("reading the web configuration %q: %w", file, err)
	}
	return len(c.Users) > 0, nil
}

// asksForLogin reports whether a request that came through had to log in. The toolkit reads its
// configuration at each request, so this does, too; what cannot be read asks nobody.
func (a *App) asksForLogin() bool {
	login, err := hasLogin(a.o.WebConfigFile)
	return err == nil && login
}
