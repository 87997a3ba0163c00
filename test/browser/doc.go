// Package browser holds the tests that look at certmedic's pages with a real browser, on throwaway
// hosts: Debian's chromium beside a certmedic that has something to show.
package browser
