// Answers each request with what net/http read: method, target, host, body.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
)

func show(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	var out strings.Builder
	for _, c := range b {
		switch {
		case c == '\\':
			out.WriteString(`\\`)
		case c == '\r':
			out.WriteString(`\r`)
		case c == '\n':
			out.WriteString(`\n`)
		case c == '\t':
			out.WriteString(`\t`)
		case c < 0x20 || c > 0x7e:
			fmt.Fprintf(&out, `\x%02x`, c)
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				w.Header().Set("Connection", "close")
				w.WriteHeader(400)
				return
			}
			target := r.RequestURI
			if r.URL.IsAbs() {
				target = r.URL.RequestURI()
			}
			host := r.Host
			if host == "" {
				host = "-"
			}
			answer := fmt.Sprintf("%s %s %s %s", r.Method, show([]byte(target)), host, show(body))
			w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
			io.WriteString(w, answer)
		}),
	}
	log.Fatal(server.Serve(listener))
}
