#include "pki/san.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "pki/ossl.h"

#define SANS_MAX 1000 /* far above what clients accept; keeps comparing and printing bounded */
#define TEXT_MAX 512

static const struct {
	const char *prefix;
	int type;
} kinds[] = {
	{ "DNS:", GEN_DNS },
	{ "IP:", GEN_IPADD },
	{ "URI:", GEN_URI },
	{ "email:", GEN_EMAIL },
};

static bool visible_ascii(const char *text)
{
	for (; *text; text++)
		if (*text <= 0x20 || *text >= 0x7f)
			return false;
	return true;
}

static bool address_parse(const char *text, unsigned char out[16], size_t *out_len)
{
	*out_len = 4;
	if (inet_pton(AF_INET, text, out) == 1)
		return true;
	*out_len = 16;
	return inet_pton(AF_INET6, text, out) == 1;
}

/* RFC 3986 section 3: a scheme, a colon, something behind it. */
static bool uri_valid(const char *uri)
{
	static const char scheme[] = "abcdefghijklmnopqrstuvwxyz0123456789+-.";
	size_t len = strspn(uri, scheme);

	return len > 0 && uri[0] >= 'a' && uri[len] == ':' && uri[len + 1] && visible_ascii(uri);
}

static bool mailbox_valid(const char *mailbox)
{
	const char *at = strrchr(mailbox, '@');

	return at && at != mailbox && visible_ascii(mailbox) && ls_host_name_valid(at + 1);
}

static bool value_valid(int type, const char *value)
{
	unsigned char address[16];
	size_t len;

	switch (type) {
	case GEN_DNS:
		return ls_host_name_valid(ls_has_prefix(value, "*.") ? value + 2 : value) &&
		       strlen(value) <= 253;
	case GEN_IPADD:
		return address_parse(value, address, &len);
	case GEN_URI:
		return uri_valid(value);
	default:
		return mailbox_valid(value);
	}
}

/* The kind of the name and where its value begins; -1 when it is none or too long. */
static int kind_of(const char *san, const char **out_value)
{
	for (size_t i = 0; i < LS_COUNT(kinds); i++) {
		if (!ls_has_prefix(san, kinds[i].prefix))
			continue;
		*out_value = san + strlen(kinds[i].prefix);
		return strlen(san) <= TEXT_MAX ? kinds[i].type : -1;
	}
	return -1;
}

enum ls_code ls_san_check(const char *san, struct ls_err *err)
{
	const char *value;
	int type = kind_of(san, &value);

	if (type >= 0 && value_valid(type, value))
		return LS_OK;
	return LS_FAIL(err, LS_E_REFUSED,
		"subject alternative name: found '%.260s', wanted DNS:HOST, IP:ADDRESS, URI:URI or "
		"email:MAILBOX (RFC 5280 section 4.2.1.6)",
		san);
}

char *ls_san_of_host(const char *host)
{
	size_t len = strlen(host);
	bool bracketed = len > 2 && host[0] == '[' && host[len - 1] == ']';
	LS_CLEANUP(ls_free_str)
	char *inner = bracketed ? ls_strndup(host + 1, len - 2) : ls_strdup(host);
	char text[INET6_ADDRSTRLEN];
	unsigned char address[16];
	size_t address_len;

	if (address_parse(inner, address, &address_len) && (!bracketed || address_len == 16) &&
		inet_ntop(address_len == 4 ? AF_INET : AF_INET6, address, text, sizeof text))
		return ls_format("IP:%s", text);
	return !bracketed && ls_host_name_valid(host) ? ls_format("DNS:%s", host) : NULL;
}

static void name_free(GENERAL_NAME **name)
{
	GENERAL_NAME_free(*name);
	*name = NULL;
}

static enum ls_code encode_one(const char *san, GENERAL_NAMES *names, struct ls_err *err)
{
	LS_CLEANUP(name_free) GENERAL_NAME *name = GENERAL_NAME_new();
	unsigned char address[16];
	const char *value = NULL;
	int type = kind_of(san, &value);
	const void *bytes = value;
	ASN1_STRING *string;
	size_t len;

	LS_TRY(ls_san_check(san, err));
	len = strlen(value);
	if (type == GEN_IPADD) {
		(void)address_parse(value, address, &len); /* checked above */
		bytes = address;
	}
	string = type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
	if (!name || !string || ASN1_STRING_set(string, bytes, (int)len) != 1) {
		ASN1_STRING_free(string);
		return ls_ossl_fail(err, LS_E_CRYPTO, "encode '%s'", san);
	}
	GENERAL_NAME_set0_value(name, type, string);
	if (sk_GENERAL_NAME_push(names, name) == 0)
		return ls_ossl_fail(err, LS_E_CRYPTO, "encode '%s'", san);
	(void)LS_TAKE(name); /* the stack's now */
	return LS_OK;
}

enum ls_code ls_san_encode(char *const *sans, GENERAL_NAMES **out, struct ls_err *err)
{
	LS_CLEANUP(ls_general_names_free) GENERAL_NAMES *names = GENERAL_NAMES_new();

	if (!names)
		return ls_ossl_fail(err, LS_E_CRYPTO, "encode names");
	for (size_t i = 0; i < ls_strv_count(sans); i++)
		LS_TRY(encode_one(sans[i], names, err));
	*out = LS_TAKE(names);
	return LS_OK;
}

static void add_escaped(struct ls_buf *text, const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len && text->len < TEXT_MAX; i++) {
		if (bytes[i] > 0x20 && bytes[i] < 0x7f && bytes[i] != '\\')
			ls_buf_add(text, &bytes[i], 1);
		else
			ls_buf_printf(text, "\\x%02x", bytes[i]);
	}
}

static void add_address(struct ls_buf *text, const unsigned char *bytes, size_t len)
{
	char out[INET6_ADDRSTRLEN];

	if ((len == 4 || len == 16) &&
		inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, out, sizeof out))
		ls_buf_str(text, out);
	else
		add_escaped(text, bytes, len);
}

static void name_text(const GENERAL_NAME *name, struct ls_buf *text)
{
	int type;
	const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);

	ls_buf_clear(text);
	for (size_t i = 0; i < LS_COUNT(kinds); i++) {
		if (kinds[i].type != type)
			continue;
		ls_buf_str(text, kinds[i].prefix);
		if (type == GEN_IPADD)
			add_address(text, ASN1_STRING_get0_data(value),
				(size_t)ASN1_STRING_length(value));
		else
			add_escaped(text, ASN1_STRING_get0_data(value),
				(size_t)ASN1_STRING_length(value));
		return;
	}
	ls_buf_printf(text, "other:%d", type);
}

char **ls_san_list(const X509 *cert)
{
	LS_CLEANUP(ls_general_names_free)
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	char **out = NULL;
	size_t count = 0;

	if (names)
		count = (size_t)sk_GENERAL_NAME_num(names);
	if (count > SANS_MAX)
		count = SANS_MAX;
	if (count)
		out = ls_alloc(count + 1, sizeof *out);
	for (size_t i = 0; i < count; i++) {
		name_text(sk_GENERAL_NAME_value(names, (int)i), &text);
		out[i] = ls_strdup(ls_buf_text(&text));
	}
	ERR_clear_error(); /* an unreadable extension is refused by the caller's rules */
	return out;
}

static bool one_covers(const char *san, const char *wanted)
{
	unsigned char a[16], b[16];
	size_t a_len, b_len;
	const char *dot;

	if (ls_has_prefix(wanted, "IP:") && ls_has_prefix(san, "IP:"))
		return address_parse(san + 3, a, &a_len) && address_parse(wanted + 3, b, &b_len) &&
		       a_len == b_len && memcmp(a, b, a_len) == 0;
	if (!ls_has_prefix(wanted, "DNS:"))
		return strcmp(san, wanted) == 0;
	if (strcasecmp(san, wanted) == 0)
		return true;
	dot = strchr(wanted, '.');
	return ls_has_prefix(san, "DNS:*.") && !ls_has_prefix(wanted, "DNS:*.") && dot &&
	       strcasecmp(san + strlen("DNS:*"), dot) == 0;
}

bool ls_san_covers(char *const *sans, const char *wanted)
{
	for (size_t i = 0; i < ls_strv_count(sans); i++)
		if (one_covers(sans[i], wanted))
			return true;
	return false;
}
