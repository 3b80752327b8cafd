"""A speech server in a page: OpenAI's POST /v1/audio/speech, spoken by espeak-ng."""
import http.server, json, subprocess, sys


class Voice(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        wanted = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/audio/speech":
            return self.answer(404, b'{"error": {"message": "there is nothing here"}}')
        if not wanted.get("input", "").strip():
            return self.answer(400, b'{"error": {"message": "input is empty"}}')
        said = subprocess.run(
            ["espeak-ng", "-v", "en+" + wanted.get("voice", "f2"), "--stdin", "--stdout"],
            input=wanted["input"].encode(), capture_output=True, timeout=60)
        if said.returncode != 0:
            return self.answer(500, json.dumps({"error": {"message": said.stderr.decode()}}).encode())
        self.answer(200, said.stdout, "audio/wav")

    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Voice).serve_forever()
