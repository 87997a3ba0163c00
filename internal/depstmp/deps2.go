// Package depstmp holds modules until the code that needs them is there.
package depstmp

import (
	_ "github.com/PagerDuty/go-pagerduty"
	_ "github.com/PagerDuty/go-pagerduty/webhookv3"
	_ "github.com/gorilla/websocket"
	_ "github.com/slack-go/slack"
	_ "github.com/slack-go/slack/slacktest"
	_ "github.com/slack-go/slack/socketmode"
	_ "github.com/wneessen/go-mail"
)
