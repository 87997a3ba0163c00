package protocols_test

// startMail boots the host mail with postfix and dovecot.
func (w *world) startMail() *host {
	h := w.boot("mail")
	h.start("postfix", "dovecot")
	h.awaitPorts("25", "587", "465", "24", "143", "993", "110", "995", "4190")
	return h
}

// startServices boots the host services with all of its servers.
func (w *world) startServices() *host {
	h := w.boot("services")
	h.must(`a2enmod -q ssl
		install --owner=news --mode=600 /etc/tls/rsa.key /etc/news/tls.key
		printf 'domain: example.test\ntlscertfile: /etc/tls/rsa.pem\ntlskeyfile: /etc/news/tls.key\n' >>/etc/news/inn.conf`)
	h.start("apache2", "danted", "haproxy", "inn2", "inspircd", "nginx", "prosody", "slapd", "tinyproxy",
		"unbound", "vsftpd", "vsftpd-implicit", "xrdp")
	h.start("nnrpd-tls") // once inn2 made its files
	h.awaitPorts("21", "990", "119", "563", "389", "636", "443", "8443", "8444", "853", "1080", "3128", "3389", "5222", "5223", "5269", "5270", "6667", "6697")
	return h
}

// startDatabases boots the host databases with PostgreSQL and MariaDB.
func (w *world) startDatabases() *host {
	h := w.boot("databases")
	h.must(`cd /etc/postgresql && mv tls.conf */main/conf.d/ && install --owner=postgres --mode=600 /etc/tls/ecdsa.key server.key`)
	h.start("mariadb", `"postgresql@$(ls -d /etc/postgresql/[0-9]* | xargs basename)-main"`)
	h.awaitPorts("3306", "5432")
	return h
}
