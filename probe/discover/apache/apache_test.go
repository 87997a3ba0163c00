package apache_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/probe/discover/apache"
	"github.com/certmedic/certmedic/probe/discover/conf"
)

// layout writes files below a new folder and returns it.
func layout(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "@", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// told renders servers for comparisons, with names relative to the folder. An address
// whose default server it is has a "!".
func told(dir string, servers []conf.Server) string {
	var out []string
	for _, s := range servers {
		var listens []string
		for _, l := range s.Listen {
			mark := ""
			if l.Default {
				mark = "!"
			}
			listens = append(listens, l.Protocol+" "+l.Address+mark)
		}
		out = append(out, fmt.Sprintf("%s:%d %q %q %v", s.File, s.Line, s.Names, listens, s.Certificates))
	}
	return strings.ReplaceAll(strings.Join(out, "\n"), dir+"/", "")
}

// debian is the configuration of Debian's package, shortened.
var debian = map[string]string{
	"envvars": "unset HOME\nif [ \"${APACHE_CONFDIR##/etc/apache2-}\" != \"${APACHE_CONFDIR}\" ] ; then\n" +
		"\tSUFFIX=\"-${APACHE_CONFDIR##/etc/apache2-}\"\nelse\n\tSUFFIX=\nfi\nexport APACHE_RUN_USER=www-data\n" +
		"export APACHE_LOG_DIR=/var/log/apache2$SUFFIX\nexport TLS_DIR=\"/etc/tls${SUFFIX}\"\nexport NOW=`date`\nexport LANG\n",
	"apache2.conf": "DefaultRuntimeDir ${APACHE_RUN_DIR}\nUser ${APACHE_RUN_USER}\nIncludeOptional mods-enabled/*.load\n" +
		"IncludeOptional mods-enabled/*.conf\nInclude ports.conf\n<Directory />\n\tRequire all denied\n</Directory>\n" +
		"<FilesMatch \"^\\.ht\">\n\tRequire all denied\n</FilesMatch>\n" +
		"LogFormat \"%v:%p %h \\\"%r\\\" %>s %O\" vhost_combined\nIncludeOptional conf-enabled/*.conf\nIncludeOptional sites-enabled/*.conf\n",
	"ports.conf":                     "Listen 80\n\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\n\n<IfModule mod_gnutls.c>\n\tListen 443\n</IfModule>\n",
	"mods-enabled/mime.load":         "LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so\n",
	"mods-enabled/ssl.load":          "# Depends: mime\nLoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\n",
	"mods-enabled/ssl.conf":          "SSLSessionCache shmcb:${APACHE_RUN_DIR}/ssl_scache(512000)\n",
	"sites-enabled/000-default.conf": "<VirtualHost *:80>\n\tServerAdmin webmaster@localhost\n</VirtualHost>\n",
	"sites-enabled/default-ssl.conf": "<VirtualHost *:443>\n\tErrorLog ${APACHE_LOG_DIR}/error.log\n\tSSLEngine on\n\n" +
		"\tSSLCertificateFile      /etc/ssl/certs/ssl-cert-snakeoil.pem\n\tSSLCertificateKeyFile   /etc/ssl/private/ssl-cert-snakeoil.key\n" +
		"\t<FilesMatch \"\\.(?:cgi|shtml)$\">\n\t\tSSLOptions +StdEnvVars\n\t</FilesMatch>\n</VirtualHost>\n",
	"sites-enabled/shop-le-ssl.conf": "<IfModule mod_ssl.c>\n<VirtualHost *:443>\n\tServerAlias www.shop.test\n\tServerName https://shop.test:443\n" +
		"\tInclude options-ssl.conf\n\tSSLCertificateFile ${TLS_DIR}/shop.pem\n</VirtualHost>\n</IfModule>\n",
	"options-ssl.conf": "SSLEngine on\n",
}

func TestDebian(t *testing.T) {
	dir := layout(t, debian)
	servers, err := apache.Parse(filepath.Join(dir, "apache2.conf"))
	if err != nil {
		t.Fatal(err)
	}
	want := "sites-enabled/default-ssl.conf:1 [] [\"tls *:443!\"] [{/etc/ssl/certs/ssl-cert-snakeoil.pem /etc/ssl/private/ssl-cert-snakeoil.key}]\n" +
		"sites-enabled/shop-le-ssl.conf:2 [\"shop.test\" \"www.shop.test\"] [\"tls *:443\"] [{/etc/tls/shop.pem }]"
	if got := told(dir, servers); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDebianWithoutTheModule(t *testing.T) {
	files := maps.Clone(debian)
	delete(files, "mods-enabled/ssl.load")
	dir := layout(t, files)
	servers, err := apache.Parse(filepath.Join(dir, "apache2.conf"))
	if err != nil || len(servers) > 0 {
		t.Errorf("servers %s, %v", told(dir, servers), err)
	}
}

var serverRows = []struct{ about, conf, want string }{
	{
		"settings of the main server are inherited, a host's own replace them",
		"Listen 443\nSSLEngine on\nSSLCertificateFile m.pem\n<VirtualHost *:443>\n</VirtualHost>\n" +
			"<VirtualHost *:443>\nSSLCertificateFile v.pem\nSSLCertificateKeyFile v.key\n</VirtualHost>\n<VirtualHost *:443>\nSSLEngine off\n</VirtualHost>",
		"httpd.conf:4 [] [\"tls *:443!\"] [{m.pem }]\nhttpd.conf:6 [] [\"tls *:443\"] [{v.pem v.key}]",
	},
	{
		"the main server answers on what no host takes",
		"Listen 443\nListen 8443\nServerName m.test\nSSLEngine on\nSSLCertificateFile m.pem\n<VirtualHost _default_:443>\n</VirtualHost>",
		"httpd.conf:6 [] [\"tls *:443!\"] [{m.pem }]\nhttpd.conf:1 [\"m.test\"] [\"tls *:8443!\"] [{m.pem }]",
	},
	{
		"TLS is on without the switch where the protocol is https and there is a certificate",
		"Listen 443\nListen 8443 https\nListen 9443\n<VirtualHost *>\nSSLCertificateFile a.pem\n</VirtualHost>\n<VirtualHost *:443>\n</VirtualHost>",
		"httpd.conf:4 [] [\"tls *:443!\" \"tls *:8443!\"] [{a.pem }]",
	},
	{
		"addresses of every form",
		"Listen 0.0.0.0:443\nListen [::]:444\nListen 10.0.0.7:445\nSSLEngine on\n<VirtualHost 10.0.0.8:443 [fd00::1]:444 *:445 _default_:446>\n</VirtualHost>",
		"httpd.conf:5 [] [\"tls 10.0.0.8:443!\" \"tls [fd00::1]:444!\" \"tls 10.0.0.7:445!\"] []\nhttpd.conf:1 [] [\"tls *:443!\" \"tls [::]:444!\"] []",
	},
	{
		"the upgrade from plain text is no TLS",
		"Listen 80\n<VirtualHost *:80>\nSSLEngine optional\nSSLCertificateFile a.pem\n</VirtualHost>",
		"",
	},
	{
		"defined names, unknown ones, and conditions",
		"Define P 443\nDefine D tls\nListen ${P}\nSSLEngine on\n<IfDefine !X>\n<IfDefine P>\n<VirtualHost *:${P}>\nSSLCertificateFile ${D}/a.pem\nSSLCertificateFile ${U}/b.pem\n" +
			"</VirtualHost>\n</IfDefine>\n</IfDefine>\nUnDefine P\n<IfDefine P>\nBroken </IfDefine\n</IfDefine>\n<IfVersion < 2.4>\n<VirtualHost *:443>\n</VirtualHost>\n</IfVersion>\n" +
			"<IfFile httpd.conf>\n<VirtualHost *:443>\nServerName f.test\n</VirtualHost>\n</IfFile>",
		"httpd.conf:7 [] [\"tls *:443!\"] [{tls/a.pem }]\nhttpd.conf:22 [\"f.test\"] [\"tls *:443\"] []",
	},
	{
		"quotes, continued lines, comments that continue, and case",
		"LISTEN 443\n# a comment \\\nListen 444\nsslengine ON\n<virtualhost \"*:443\">\nServerAlias a.test \\\n  'b.test' \\\n *.c.test\n" +
			"SSLCertificateFile \"a \\\"b\\\" c.pem\"\n</VIRTUALHOST>",
		"httpd.conf:5 [\"a.test\" \"b.test\" \"*.c.test\"] [\"tls *:443!\"] [{a \"b\" c.pem }]",
	},
	{
		"values that are no files are left out, two kinds of keys stay",
		"Listen 443\nSSLEngine on\n<VirtualHost *:443>\nSSLCertificateFile pkcs11:token=x\nSSLCertificateFile r.pem\nSSLCertificateFile e.pem\n</VirtualHost>",
		"httpd.conf:3 [] [\"tls *:443!\"] [{r.pem } {e.pem }]",
	},
	{
		"macros",
		"Listen 443\nSSLEngine on\n<Macro Site $name $names>\n<VirtualHost *:443>\nServerName $name.test\nServerAlias $names\nSSLCertificateFile $name.pem\n</VirtualHost>\n</Macro>\n" +
			"Use Site a www.a.test\nUSE site b www.b.test",
		"httpd.conf:4 [\"a.test\" \"www.a.test\"] [\"tls *:443!\"] [{a.pem }]\nhttpd.conf:4 [\"b.test\" \"www.b.test\"] [\"tls *:443\"] [{b.pem }]",
	},
}

func TestServers(t *testing.T) {
	for _, row := range serverRows {
		t.Run(row.about, func(t *testing.T) {
			dir := layout(t, map[string]string{"httpd.conf": row.conf})
			servers, err := apache.Parse(filepath.Join(dir, "httpd.conf"))
			if err != nil {
				t.Fatal(err)
			}
			if got := told(dir, servers); got != row.want {
				t.Errorf("got\n%s\nwant\n%s", got, row.want)
			}
		})
	}
}

func TestIncludes(t *testing.T) {
	dir := layout(t, map[string]string{
		"conf/httpd.conf":             "Listen 443\nSSLEngine on\nInclude conf.modules.d/*.conf\nIncludeOptional conf.d/*.conf\nIncludeOptional none/*.conf\nInclude vhosts\n",
		"conf.modules.d/00-ssl.conf":  "LoadModule ssl_module modules/mod_ssl.so\n",
		"conf.d/a.conf":               "ServerRoot @/elsewhere\n",
		"conf.d/readme":               "<VirtualHost *:443>\n</VirtualHost>\n",
		"elsewhere/vhosts/sub/b.conf": "<VirtualHost *:443>\nServerName b\nSSLCertificateFile tls/b.pem\n</VirtualHost>\n",
		"elsewhere/vhosts/a":          "<VirtualHost *:443>\nServerName a\n</VirtualHost>\n",
	})
	servers, err := apache.Parse(filepath.Join(dir, "conf/httpd.conf"))
	if err != nil {
		t.Fatal(err)
	}
	want := "elsewhere/vhosts/a:1 [\"a\"] [\"tls *:443!\"] []\nelsewhere/vhosts/sub/b.conf:1 [\"b\"] [\"tls *:443\"] [{elsewhere/tls/b.pem }]"
	if got := told(dir, servers); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWithWhatApachectlPrinted(t *testing.T) {
	dir := layout(t, map[string]string{"httpd.conf": "Listen 443\nSSLEngine on\n<IfDefine TLS>\n<VirtualHost *:443>\nServerName a.test\n</VirtualHost>\n</IfDefine>\n" +
		"<If \"true\">\n</If>\n<IfModule unknown_module>\n<VirtualHost *:443>\nServerName b.test\n</VirtualHost>\n</IfModule>\n" +
		"<VirtualHost *:443>\nServerName c.test\nSSLCertificateFile ${DIR}/c.pem\n</VirtualHost>"})
	path := filepath.Join(dir, "httpd.conf")
	output := "VirtualHost configuration:\n*:443                  is a NameVirtualHost\n         default server a.test (" + path + ":4)\n" +
		"         port 443 namevhost a.test (" + path + ":4)\n         port 443 namevhost c.test (" + path + ":15)\n                 alias www.c.test\n" +
		"ServerRoot: \"/srv/apache\"\nMain DocumentRoot: \"/var/www (old)\"\nMutex default: dir=\"/run/apache2/\" mechanism=default \n" +
		"Define: TLS\nDefine: DIR=tls\nUser: name=\"www-data\" id=33\n"
	servers, err := apache.ParseWith(path, []byte(output))
	if err != nil {
		t.Fatal(err)
	}
	want := "httpd.conf:4 [\"a.test\"] [\"tls *:443!\"] []\nhttpd.conf:15 [\"c.test\"] [\"tls *:443\"] [{/srv/apache/tls/c.pem }]"
	if got := told(dir, servers); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := apache.ParseWith(path, []byte("AH00526: Syntax error on line 3 of httpd.conf:\n")); err == nil {
		t.Error("an output without virtual hosts gave no error")
	}
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	const good = "\nListen 443\n<VirtualHost *:443>\nSSLEngine on\n</VirtualHost>\n"
	for _, row := range []struct{ about, conf, more, want string }{
		{"a section that does not end", good + "<IfDefine X>\n", "", `httpd.conf:6: the section "ifdefine" does not end`},
		{"an end too many", "</IfModule>" + good, "", `httpd.conf:1: unexpected "</IfModule>"`},
		{"an end of another section", "<Directory />\n</Location>\n</Directory>" + good, "", `httpd.conf:2: unexpected "</Location>"`},
		{"a section without a name", "<>\n" + good, "", `httpd.conf:1: a section without a name`},
		{"an included file that is missing", "Include gone.conf" + good, "", `httpd.conf:1: include "gone.conf": there is no such file`},
		{"a mistake in an included file", "Include more.conf" + good, "<IfDefine X>", `more.conf:1: the section "ifdefine" does not end`},
		{"a file that includes itself", "Include more.conf" + good, "Include more.conf", `more.conf:1: files include each other more than 16 deep`},
		{"a file that includes itself twice", "Include more.conf" + good, "Include more.conf\nInclude more.conf", `more than 2000 files`},
		{"a pattern that is none", "Include [" + good, "", `httpd.conf:1: include "[": syntax error in pattern`},
		{"a macro that does not end", good + "<Macro X>\nListen 1\n", "", `httpd.conf:6: the section "macro" does not end`},
		{"a macro that is not there", "Use Gone" + good, "", `httpd.conf:1: no macro "Gone"`},
		{"a macro with too few parameters", "<Macro X $a>\n</Macro>\nUse X" + good, "", `httpd.conf:3: macro "X" takes 1 parameters`},
		{"a macro that uses itself", "<Macro X>\nUse X\nUse X\n</Macro>\nUse X" + good, "", `macros use each other more than 16 deep`},
		{"a macro that grows", "<Macro X $a>\nUse X $a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a\n</Macro>\nUse X aaaaaaaa" + good, "", `macro "X" makes a line of more than 16384 bytes`},
		{"a variable that grows", "Define A aaaaaaaaaaaaaaaa\n" + strings.Repeat("Define A ${A}${A}\n", 100) + "Include ${A}" + good, "", "there is no such file"},
		{"sections without end", good + strings.Repeat("<Location />\n", 200), "", "sections are nested more than 100 deep"},
	} {
		t.Run(row.about, func(t *testing.T) {
			dir := layout(t, map[string]string{"httpd.conf": row.conf, "more.conf": row.more})
			servers, err := apache.Parse(filepath.Join(dir, "httpd.conf"))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %s", err, row.want)
			}
			if len(servers) != 1 && !strings.HasSuffix(row.about, "twice") {
				t.Errorf("%d servers survived the mistake, want 1", len(servers))
			}
		})
	}
	if _, err := apache.Parse(filepath.Join(t.TempDir(), "gone")); err == nil {
		t.Error("a missing main file gave no error")
	}
}
