package config_test

import (
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/remediate/rollback"
)

func TestWaysOfRollbacks(t *testing.T) {
	t.Parallel()
	const (
		lineage = "source: {certbot: {lineage: shop.test}}, "
		files   = "source: {files: {cert: /a.pem, key: /a.key}}, "
		steps   = "deploy: [{files: [{from: fullchain, to: /x.pem}], reload: [/bin/true]}], "
		reload  = "deploy: [{reload: [/bin/true]}], "
	)
	for _, tt := range []struct {
		about, certificate string
		want               rollback.Way
		err, warning       string
	}{
		{"nothing is said", lineage, rollback.WayAuto, "", ""},
		{"nothing is said, and there is no way", files, rollback.WayAuto, "", "there is no way to roll it back"},
		{"deploy steps are a way for files", files + steps, rollback.WayAuto, "", ""},
		{"by the deploy steps", lineage + steps + "rollback: {way: deploy-path}", rollback.WayDeployPath, "", ""},
		{"by deploy steps that there are not", lineage + "rollback: {way: deploy-path}", "", "there are none", ""},
		{"in the lineage", lineage + "rollback: {way: append-only}", rollback.WayAppend, "", ""},
		{"in a lineage that it is not", files + steps + "rollback: {way: pinned}", "", "the source is none", ""},
		{"by deploy steps that install nothing", lineage + reload + "rollback: {way: deploy-path}", "", "there are none", ""},
		{"in the lineage, by deploy steps that install nothing", lineage + reload + "rollback: {way: append-only}", rollback.WayAppend, "", ""},
		{"nothing is said, and deploy steps install nothing", lineage + reload, rollback.WayAuto, "", ""},
		{"deploy steps that install nothing are no way for files", files + reload, rollback.WayAuto, "", "there is no way to roll it back"},
		{"in the lineage, beside deploy steps", lineage + steps + "rollback: {way: pinned}", "", "with files to install it is deploy-path", ""},
		{"by a way that nobody knows", lineage + "rollback: {way: back}", "", `"back" is none of auto, deploy-path, append-only, pinned`, ""},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			text := "certificates: [{name: shop, remediation: {allow: [rollback]}, " + tt.certificate + "}]\n"
			c, warnings, err := config.Parse("c.yml", []byte(text))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("the error is %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := config.RollbackWays(c)(certmedic.Certificate{Name: "shop"}); got != tt.want {
				t.Errorf("the way is %q, want %q", got, tt.want)
			}
			var told string
			for _, w := range warnings {
				told += w.String()
			}
			if (tt.warning == "") != (told == "") || !strings.Contains(told, tt.warning) {
				t.Errorf("it warns %q, want %q", told, tt.warning)
			}
		})
	}
	if way := config.RollbackWays(&config.Config{})(certmedic.Certificate{Name: "found"}); way != rollback.WayAuto {
		t.Errorf("what is not configured has the way %q", way)
	}
}
