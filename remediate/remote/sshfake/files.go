package sshfake

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// The kinds of packets of sftp (draft-ietf-secsh-filexfer-02, section 3) that faults are about.
const (
	KindInit    byte = 1
	KindVersion byte = 2
	KindOpen    byte = 3
	KindWrite   byte = 6
	KindStatus  byte = 101

	kindRealPath byte = 16
)

// maxPacket bounds a packet of sftp, in bytes.
const maxPacket = 1 << 20

// serveFiles serves this machine's files. Between the client and the server one request after the
// other is looked at, and spoiled as the faults say.
func (s *Server) serveFiles(channel ssh.Channel, p *peer) {
	toServer, fromUs := io.Pipe()
	fromServer, toUs := io.Pipe()
	server, err := sftp.NewServer(struct {
		io.Reader
		io.WriteCloser
	}{toServer, toUs})
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = server.Serve(); _ = toUs.Close() })
	defer fromServer.Close()
	defer fromUs.Close()
	for {
		packet, err := readPacket(channel)
		if err != nil {
			return
		}
		answer, ok := p.files(s.atHome(packet), fromUs, fromServer)
		if !ok {
			return
		}
		if _, err := channel.Write(answer); err != nil {
			return
		}
	}
}

// atHome leads the question where the server starts to its own home: the folder of the test's process
// is that of its source.
func (s *Server) atHome(packet []byte) []byte {
	const head = 9 // length, kind and id
	if packet[4] != kindRealPath || string(packet[head:]) != "\x00\x00\x00\x01." {
		return packet
	}
	asked := binary.BigEndian.AppendUint32(append([]byte(nil), packet[:head]...), uint32(len(s.Dir)))
	asked = append(asked, s.Dir...)
	binary.BigEndian.PutUint32(asked, uint32(len(asked)-4))
	return asked
}

// files has a request done and returns its answer; ok is false where the connection ended.
func (p *peer) files(packet []byte, to io.Writer, from io.Reader) (answer []byte, ok bool) {
	kind := packet[4]
	n, cut := p.request()
	if cut {
		return nil, false
	}
	if kind != KindInit && (n == p.FailAt || p.Fail != nil && p.Fail(kind)) {
		return failure(packet), true
	}
	if p.Change != nil {
		p.Change(kind, packet)
	}
	if _, err := to.Write(packet); err != nil {
		return nil, false
	}
	answer, err := readPacket(from)
	if err != nil || p.answered(n) {
		return nil, false
	}
	if kind == KindInit && p.NoRename {
		answer = bytes.Replace(answer, []byte("posix-rename@openssh.com"), []byte("posix-rename@openssh.old"), 1)
	}
	return answer, true
}

// readPacket reads a packet with its length.
func readPacket(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxPacket {
		return nil, io.ErrUnexpectedEOF
	}
	packet := append(length[:], make([]byte, n)...)
	_, err := io.ReadFull(r, packet[4:])
	return packet, err
}

// failure answers a request with the status that a full disk gives.
func failure(request []byte) []byte {
	const statusFailure = 4
	packet := []byte{0, 0, 0, 0, KindStatus}
	packet = append(packet, request[5:9]...) // its id
	packet = binary.BigEndian.AppendUint32(packet, statusFailure)
	message := "No space left on device"
	packet = binary.BigEndian.AppendUint32(packet, uint32(len(message)))
	packet = append(packet, message...)
	packet = binary.BigEndian.AppendUint32(packet, 0)
	binary.BigEndian.PutUint32(packet, uint32(len(packet)-4))
	return packet
}
