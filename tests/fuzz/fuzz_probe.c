/* Any bytes from a TLS server, to the probe and to an exchange: the first byte says which. TLS 1.2
 * sends its certificates in clear, before anything is proved, so a recorded flight reaches deep. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/probe.h"
#include "tests/fuzz/support/peer.h"

#define TIMEOUT_MS 10000 /* the peer closes: never waited for */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool one_line(struct ls_bytes answer)
{
	return answer.len && memchr(answer.data, '\n', answer.len);
}

static void exchange(const char *endpoint, bool tls, bool line)
{
	LS_CLEANUP(ls_buf_done) struct ls_buf answer = { 0 };
	const struct ls_exchange exchange = { .endpoint = endpoint,
		.tls = tls,
		.request = LS_BYTES_STR("show info\n"),
		.whole = line ? one_line : NULL,
		.timeout_ms = TIMEOUT_MS };
	struct ls_err err = { 0 };

	if (ls_exchange(&exchange, &answer, &err) == LS_OK ? answer.len > 65536 : !err.text[0])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *endpoint;
	struct ls_err err = { 0 };
	char sha256[65] = "";

	if (!endpoint)
		endpoint = ls_format("unix:%s", peer_start());
	if (size < 1)
		return 0;
	peer_answer((struct ls_bytes){ data + 1, size - 1 }, -1);
	if (data[0] == 'x' || data[0] == 'y') {
		exchange(endpoint, false, data[0] == 'y');
	} else if (data[0] == 't') {
		exchange(endpoint, true, true);
	} else if (ls_probe(endpoint, "a.example.com", TIMEOUT_MS, sha256, &err) == LS_OK) {
		if (strspn(sha256, "0123456789abcdef") != 64)
			abort();
	} else if (!err.text[0]) {
		abort();
	}
	return 0;
}
