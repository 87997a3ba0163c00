package port_test

import (
	"net"
	"testing"

	"github.com/certmedic/certmedic/internal/lab/port"
)

func TestABusyPreferenceIsNotReturned(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	busy := listener.Addr().(*net.TCPAddr).Port
	free, err := port.Free(t.Context(), busy)
	if err != nil || free == busy || free == 0 {
		t.Errorf("with %d busy: %d, %v", busy, free, err)
	}
}
