package dashboards

// delivery is the dashboard of whether people hear what they have to.
func delivery() Dashboard {
	d := board(
		deliveryUID, "certmedic-delivery.json", "certmedic: alert delivery",
		"Whether what certmedic has to say arrives: notifications by receiver and outcome, what waits and for how long, and who takes nothing.",
		variable("receiver", "Receiver", `label_values(certmedic_receiver_failing{job=~"$job",instance=~"$instance"}, receiver)`))
	taken := called(value{"takes what it is sent", "green"}, value{"fails", "red"})
	queue := steps(below("green"), from(60, "orange"), from(300, "red"))
	d.row("Now", 4,
		stat("Failing receivers", "Receivers that rejected the last notification, or did not take several in a row. A heartbeat that does not arrive counts as well.",
			query{`sum(max by (receiver) (certmedic_receiver_failing{@,receiver=~"$receiver"}))`, "failing"}).colours(unwanted("red")).wide(4),
		stat("Oldest that waits", "How long the oldest notification has waited. More than 5 min opens an incident.",
			query{`max(certmedic_notification_queue_oldest_seconds{@})`, "oldest"}).unit("s").colours(queue).wide(4),
		stat("Delivered in the time shown", "Notifications that a receiver took.",
			query{`sum(increase(certmedic_notifications_total{@,receiver=~"$receiver",outcome="delivered"}[$__range]))`, "delivered"}).decimals(0).wide(4),
		stat("Not delivered in the time shown", "Attempts that were rejected, have to be made again, or were dropped.",
			query{`sum by (outcome) (increase(certmedic_notifications_total{@,receiver=~"$receiver",outcome!="delivered"}[$__range]))`, "{{outcome}}"}).decimals(0).colours(unwanted("orange")).wide(6),
		stat("Heartbeats wait for", "How long ago all endpoints had been probed, at the instance where that is longest. Receivers of heartbeats hear none while certmedic is blind.",
			query{`time() - min(certmedic_last_round_timestamp_seconds{@} > 0)`, "last round"}).unit("s").wide(3),
		stat("Incidents about it", "Firing incidents that say that people are not told, or that certmedic does not watch.",
			query{`sum(certmedic_incidents{@,rule=~"notifier-failing|watchdog-heartbeat",state="firing"})`, "firing"}).colours(unwanted("red")).links(link("Its runbook", "${ui}/runbooks/notifier-failing")).wide(3))
	d.row("Notifications", 9,
		events("By outcome", "Each attempt ends in one of them.",
			query{`sum by (outcome) (increase(certmedic_notifications_total{@,receiver=~"$receiver"}[$__rate_interval])) > 0`, "{{outcome}}"}).
			paint("delivered", "green").paint("retried", "orange").paint("rejected", "red").paint("dropped", "purple").none("nothing was told").wide(12),
		lines("By receiver", "Notifications that were delivered, for each second.",
			query{`sum by (receiver) (rate(certmedic_notifications_total{@,receiver=~"$receiver",outcome="delivered"}[$__rate_interval]))`, "{{receiver}}"}).unit("ops").from(0).wide(12))
	d.row("Receivers", 9,
		states("Receivers", "Whether each takes what it is sent.",
			query{`max by (receiver) (certmedic_receiver_failing{@,receiver=~"$receiver"})`, "{{receiver}}"}).names(taken).wide(12),
		lines("What waits", "Age of the oldest notification that waits for each receiver.",
			query{`max by (receiver) (certmedic_receiver_queue_oldest_seconds{@,receiver=~"$receiver"})`, "{{receiver}}"}).unit("s").from(0).wide(12))
	d.mark("Not taken", "red", "{{receiver}} rejected or dropped a notification", `sum by (receiver) (increase(certmedic_notifications_total{@,receiver=~"$receiver",outcome=~"rejected|dropped"}[$__rate_interval])) > 0`)
	return d
}
