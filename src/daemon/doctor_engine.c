/* The doctor's check of the engine: etcd's members, the certificates that this node has for them,
 * the clocks of their machines. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/doctor_checks.h"
#include "node/etcd_member.h"
#include "sys/file.h"

/* For all endpoints together; one that hangs is a finding. */
#define ASK_MS 3000
#define ASK_LEAST_MS 400
#define MEMBERS_MAX 1000
#define FILE_BYTES_MAX (64 * 1024)
#define CLOCK_OFF_S 300

void ls_doctor_endpoints_done(struct ls_doctor *d)
{
	for (size_t i = 0; i < d->endpoint_count; i++) {
		free(d->endpoints[i].url);
		free(d->endpoints[i].own);
		ls_etcd_status_done(&d->endpoints[i].status);
	}
	free(d->endpoints);
	d->endpoints = NULL;
	d->endpoint_count = 0;
}

bool ls_doctor_endpoint_well(const struct ls_doctor_endpoint *e)
{
	return e->err.code == LS_OK && e->status.leader && !e->status.learner;
}

/* ---- the members whose files are on this machine ---- */

/* Their names, from the heap. */
static char **own_members(const struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_str) char *path = ls_format("%s/etcd", d->paths.lib);
	LS_CLEANUP(ls_free_strv) char **found = NULL;
	LS_CLEANUP(ls_fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char **names = NULL;

	if (fd < 0 || ls_dir_list(fd, MEMBERS_MAX, &found, NULL) != LS_OK)
		return NULL;
	for (size_t i = 0; i < ls_strv_count(found); i++) {
		LS_CLEANUP(ls_free_str) char *wish = ls_format("%s/%s/wish.json", path, found[i]);

		if (found[i][0] != '.' && access(wish, F_OK) == 0)
			ls_strv_add(&names, found[i]);
	}
	return names;
}

static char *member_file(const struct ls_doctor *d, const char *member, const char *name)
{
	return ls_format("%s/etcd/%s/%s", d->paths.lib, member, name);
}

static bool read_member(const struct ls_doctor *d, const char *name, struct ls_etcd_member *out)
{
	LS_CLEANUP(ls_free_str) char *path = member_file(d, name, "wish.json");
	LS_CLEANUP(ls_buf_done) struct ls_buf text = { 0 };
	json_t *json;
	bool read;

	if (ls_file_read(AT_FDCWD, path, FILE_BYTES_MAX, &text, NULL) != LS_OK)
		return false;
	json = json_loadb(ls_buf_text(&text), text.len, JSON_REJECT_DUPLICATES, NULL);
	read = json && ls_etcd_member_from_json(json, out, NULL) == LS_OK;
	json_decref(json);
	return read;
}

/* Who runs this member: whoever has its database open. 0: nobody. */
static int64_t runs(const struct ls_doctor *d, const char *name)
{
	LS_CLEANUP(ls_etcd_member_done) struct ls_etcd_member m = { 0 };
	LS_CLEANUP(ls_free_str) char *data = member_file(d, name, "data");
	LS_CLEANUP(ls_free_str) char *db = NULL;

	if (!read_member(d, name, &m))
		return 0;
	db = ls_format("%s/member/snap/db", m.data_dir ? m.data_dir : data);
	return ls_doctor_holder(db, NULL);
}

/* "https://HOST:PORT" with the host of one of its names, which are "DNS:…" and "IP:…". */
static bool reaches(const struct ls_etcd_member *m, const char *url)
{
	LS_CLEANUP(ls_free_strv) char **sans = ls_etcd_member_sans(m);
	LS_CLEANUP(ls_free_str) char *port = ls_format("%lld", (long long)m->client_port);
	const char *host = strstr(url, "://") ? strstr(url, "://") + 3 : url;
	const char *colon = strrchr(host, ':');
	size_t len = colon ? (size_t)(colon - host) : 0;

	if (!colon || strcmp(colon + 1, port) != 0)
		return false;
	if (host[0] == '[' && len > 2) {
		host++;
		len -= 2;
	}
	for (size_t i = 0; i < ls_strv_count(sans); i++) {
		const char *name = strchr(sans[i], ':') + 1;

		if (strlen(name) == len && strncasecmp(name, host, len) == 0)
			return true;
	}
	return false;
}

static char *own_url(const struct ls_etcd_member *m)
{
	const char *host = m->listen[0];
	bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;

	return ls_format(strchr(host, ':') && !any ? "https://[%s]:%lld" : "https://%s:%lld",
		any ? "127.0.0.1" : host, (long long)m->client_port);
}

/* ---- asking ---- */

static struct ls_doctor_endpoint *add_endpoint(struct ls_doctor *d, const char *url, bool named)
{
	struct ls_doctor_endpoint *e;

	d->endpoints = ls_realloc(d->endpoints, d->endpoint_count + 1, sizeof *d->endpoints);
	e = &d->endpoints[d->endpoint_count++];
	*e = (struct ls_doctor_endpoint){ .url = ls_strdup(url), .named = named };
	return e;
}

/* An own member that the store's endpoints do not name counts all the same: it has a vote. */
static void gather(struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_strv) char **names = own_members(d);

	for (size_t i = 0; i < ls_strv_count(d->a->engine.endpoints); i++)
		(void)add_endpoint(d, d->a->engine.endpoints[i], true);
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		LS_CLEANUP(ls_etcd_member_done) struct ls_etcd_member m = { 0 };
		LS_CLEANUP(ls_free_str) char *url = NULL;
		bool known = false;

		if (!read_member(d, names[i], &m))
			continue;
		for (size_t k = 0; k < d->endpoint_count; k++) {
			if (d->endpoints[k].own || !reaches(&m, d->endpoints[k].url))
				continue;
			d->endpoints[k].own = ls_strdup(names[i]);
			known = true;
		}
		url = own_url(&m);
		if (!known)
			add_endpoint(d, url, false)->own = ls_strdup(names[i]);
	}
}

void ls_doctor_ask_engine(struct ls_doctor *d)
{
	struct ls_etcd_settings settings = { 0 };

	gather(d);
	ls_engine_settings(&d->paths, &d->a->engine, &settings);
	settings.timeout_ms = ASK_MS / (int64_t)(d->endpoint_count ? d->endpoint_count : 1);
	if (settings.timeout_ms < ASK_LEAST_MS)
		settings.timeout_ms = ASK_LEAST_MS;
	for (size_t i = 0; i < d->endpoint_count; i++) {
		struct ls_doctor_endpoint *e = &d->endpoints[i];

		if (ls_etcd_status_ask(&settings, e->url, &e->status, &e->err) == LS_OK &&
			e->status.date_s)
			e->ahead_s = e->status.date_s - ls_now_s();
	}
	ls_etcd_settings_done(&settings);
}

/* ---- certificates ---- */

/* What is wrong with a leaf of the cluster's CA; NULL: nothing. *out_usable: it still serves. */
static char *leaf_fault(const struct ls_doctor *d, const char *path, bool *out_usable)
{
	LS_CLEANUP(ls_secret_done) struct ls_secret pem = { 0 }; /* the key is in it, too */
	LS_CLEANUP(ls_cert_info_done) struct ls_cert_info info = { 0 };
	struct ls_bytes ca = ls_buf_bytes(&d->a->tip.ca_pem);
	char end[LS_TIME_TEXT_SIZE];
	struct ls_err err = { 0 };
	int64_t now_s = ls_now_s();

	*out_usable = false;
	if (ls_file_read_secret(AT_FDCWD, path, FILE_BYTES_MAX, &pem, &err) != LS_OK ||
		ls_cert_info_read(ls_secret_bytes(&pem), &info, &err) != LS_OK)
		return ls_strdup(err.text);
	ls_time_text(info.not_after_s, end);
	if (now_s >= info.not_after_s)
		return ls_format("%s: expired since %s", path, end);
	if (now_s < info.not_before_s)
		return ls_format("%s: not yet valid", path);
	*out_usable = true;
	return ca.len && ls_leaf_due(ls_secret_bytes(&pem), ca, now_s)
		       ? ls_format("%s: due (it ends %s, or is not of the present CA)", path, end)
		       : NULL;
}

/* Whether it can be used at least. */
static bool check_leaf(struct ls_doctor *d, const char *path, const char *why)
{
	bool usable;
	char *fault = leaf_fault(d, path, &usable);
	const char *does = d->about->answers
				   ? "has lockstepd look at once; otherwise it does so every minute"
				   : "starts lockstepd, which issues it anew";

	if (fault && usable)
		ls_doctor_note(d, fault, why, does, ls_doctor_look_command(d));
	else if (fault)
		ls_doctor_wrong(d, fault, why, does, ls_doctor_look_command(d));
	return usable;
}

/* With an operator's PKI the node's certificate is not ours to renew. */
static bool check_own_pki(struct ls_doctor *d, const char *path)
{
	LS_CLEANUP(ls_free_str) char *command = ls_doctor_migrate_command(d);
	bool usable;
	char *fault = leaf_fault(d, path, &usable);

	if (fault && !usable)
		ls_doctor_wrong(d, fault,
			"etcd lets in who shows a certificate; without it this node sees no "
			"change.",
			"puts its successor in its place, which the PKI of etcd must issue",
			ls_format("%s --etcd-ca CA --etcd-cert CHAIN --etcd-key KEY", command));
	else
		free(fault);
	return usable;
}

/* Whether this node can show etcd a certificate. */
static bool check_leaves(struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_strv) char **names = own_members(d);
	LS_CLEANUP(ls_free_str)
	char *client = ls_format("%s/" LS_ENGINE_PEM, d->paths.identity);
	bool tls = d->a->engine.endpoints && ls_has_prefix(d->a->engine.endpoints[0], "https:");
	bool usable = true;

	if (tls && d->a->engine.own_pki)
		usable = check_own_pki(d, client);
	else if (tls)
		usable = check_leaf(d, client,
			"etcd lets in who shows a certificate; without it this node sees no "
			"change. The CA's key is in the history, so nothing outside is needed.");
	for (size_t i = 0; i < ls_strv_count(names); i++) {
		LS_CLEANUP(ls_free_str) char *pem = member_file(d, names[i], "member.pem");

		(void)check_leaf(d, pem, /* of the member, not of this node */
			"With an expired certificate this member of etcd is cut off from the "
			"others "
			"and from the nodes. It reads the file at each handshake, so it need not "
			"be restarted.");
	}
	return usable;
}

/* ---- endpoints ---- */

static bool has_unit(const struct ls_doctor *d)
{
	static const char *const dirs[] = { "/etc/systemd/system", "/usr/lib/systemd/system",
		"/lib/systemd/system", "/usr/local/lib/systemd/system" };

	if (d->paths.root[0] || access("/run/systemd/system", F_OK) != 0)
		return false;
	for (size_t i = 0; i < LS_COUNT(dirs); i++) {
		LS_CLEANUP(ls_free_str)
		char *unit = ls_format("%s/lockstep-etcd@.service", dirs[i]);

		if (access(unit, F_OK) == 0)
			return true;
	}
	return false;
}

static char *start_command(const struct ls_doctor *d, const char *member)
{
	LS_CLEANUP(ls_free_str) char *config = member_file(d, member, "etcd.conf.yml");
	LS_CLEANUP(ls_free_str) char *word = ls_doctor_quote(config);

	return has_unit(d) ? ls_format("systemctl start lockstep-etcd@%s", member)
			   : ls_format("setsid -f etcd --config-file %s", word);
}

/* The fault's last words: the text of the transport names the URL again. */
static const char *words(const struct ls_doctor_endpoint *e)
{
	const char *at = strstr(e->err.text, "/status");

	at = at ? strstr(at, ": ") : NULL;
	return at ? at + 2 : e->err.text;
}

static void tell_silent(struct ls_doctor *d, const struct ls_doctor_endpoint *e, const char *why)
{
	int64_t pid = e->own ? runs(d, e->own) : 0;

	if (!e->own)
		ls_doctor_wrong(d, ls_format("etcd at %s does not answer: %s", e->url, words(e)),
			why,
			"is mended on its own machine: lockstep doctor there names the command, if "
			"the member's files are lockstep's",
			NULL);
	else if (!pid)
		ls_doctor_wrong(d,
			ls_format(
				"etcd member %s of this machine does not run (%s)", e->own, e->url),
			why, "starts it", start_command(d, e->own));
	else
		ls_doctor_wrong(d,
			ls_format("etcd member %s (process %lld, %s) runs, but does not answer: %s",
				e->own, (long long)pid, e->url, words(e)),
			why,
			"answers as soon as a majority of etcd's members is there; its own log "
			"says "
			"what it waits for",
			NULL);
}

char *ls_doctor_etcd_command(
	const struct ls_doctor *d, const char *url, const char *path, const char *json)
{
	LS_CLEANUP(ls_free_str)
	char *ca = ls_format(
		"%s/%s", d->paths.identity, d->a->engine.own_pki ? LS_ENGINE_CA : "ca.pem");
	LS_CLEANUP(ls_free_str) char *pem = ls_format("%s/" LS_ENGINE_PEM, d->paths.identity);
	LS_CLEANUP(ls_free_str) char *ca_word = ls_doctor_quote(ca);
	LS_CLEANUP(ls_free_str) char *pem_word = ls_doctor_quote(pem);
	LS_CLEANUP(ls_free_str) char *body = ls_doctor_quote(json);

	if (!ls_has_prefix(url, "https:"))
		return ls_format("curl -fsS %s/v3/%s -d %s", url, path, body);
	return ls_format("curl -fsS --cacert %s --cert %s --key %s %s/v3/%s -d %s", ca_word,
		pem_word, pem_word, url, path, body);
}

/* "memberID:10276657743932975437 alarm:NOSPACE " */
static void tell_full(struct ls_doctor *d, const struct ls_doctor_endpoint *e, const char *error)
{
	const char *id = strstr(error, "memberID:") ? strstr(error, "memberID:") + 9 : "";
	LS_CLEANUP(ls_free_str)
	char *revision = ls_format(
		"{\"revision\":\"%lld\",\"physical\":true}", (long long)e->status.revision);
	LS_CLEANUP(ls_free_str)
	char *alarm = ls_format("{\"action\":\"DEACTIVATE\",\"alarm\":\"NOSPACE\",\"memberID\":"
				"\"%.*s\"}",
		(int)strspn(id, "0123456789"), id);
	LS_CLEANUP(ls_free_str)
	char *compact = ls_doctor_etcd_command(d, e->url, "kv/compaction", revision);
	LS_CLEANUP(ls_free_str)
	char *shrink = ls_doctor_etcd_command(d, e->url, "maintenance/defragment", "{}");
	LS_CLEANUP(ls_free_str)
	char *clear = ls_doctor_etcd_command(d, e->url, "maintenance/alarm", alarm);

	ls_doctor_wrong(d, ls_format("etcd at %s has used up its space (%s)", e->url, error),
		"etcd takes no change as long as this alarm stands.",
		"forgets old revisions, gives back the room, and clears the alarm; if it comes "
		"again at once, quota-backend-bytes in the member's configuration is too small",
		ls_format("%s; %s && %s", compact, shrink, clear));
}

static void tell_errors(struct ls_doctor *d, const struct ls_doctor_endpoint *e)
{
	for (size_t i = 0; i < ls_strv_count(e->status.errors); i++) {
		const char *error = e->status.errors[i];

		if (strstr(error, "NOSPACE"))
			tell_full(d, e, error);
		else if (!strstr(error, "no leader")) /* told otherwise */
			ls_doctor_wrong(d, ls_format("etcd at %s: %s", e->url, error),
				"etcd itself complains of it.",
				"shows what it says of all its alarms",
				ls_doctor_etcd_command(
					d, e->url, "maintenance/alarm", "{\"action\":\"GET\"}"));
	}
}

static void check_endpoints(struct ls_doctor *d)
{
	const char *why;
	size_t well = 0;

	for (size_t i = 0; i < d->endpoint_count; i++)
		well += ls_doctor_endpoint_well(&d->endpoints[i]);
	why = well ? "Agreement goes on as long as a majority of etcd's members is there; the next "
		     "one lost may stop it."
		   : "Without a majority of etcd's members changes wait, and none arrives from "
		     "other "
		     "nodes; services keep what they have.";
	for (size_t i = 0; i < d->endpoint_count; i++) {
		const struct ls_doctor_endpoint *e = &d->endpoints[i];

		if (e->err.code != LS_OK)
			tell_silent(d, e, why);
		else if (!e->status.leader)
			ls_doctor_wrong(d,
				ls_format("etcd at %s answers, but is with no majority", e->url),
				why, "goes on by itself when enough of the others are there", NULL);
		else if (e->status.learner)
			ls_doctor_note(d, ls_format("etcd at %s is a learner", e->url),
				"A learner has no vote and answers no read that must be right.",
				NULL, NULL);
		tell_errors(d, e);
	}
}

/* ---- clocks ---- */

static int compare(const void *x, const void *y)
{
	const int64_t *a = x, *b = y;

	return *a < *b ? -1 : *a > *b;
}

static bool far(int64_t s)
{
	return s > CLOCK_OFF_S || s < -CLOCK_OFF_S;
}

static const char *apart(int64_t s)
{
	return s > 0 ? "ahead of" : "behind";
}

/* Most of the machines that etcd runs on, of which this may be one, are taken to be right; of two
 * clocks nobody can tell which one is wrong. */
static void check_clocks(struct ls_doctor *d)
{
	int64_t *all = ls_alloc(d->endpoint_count + 1, sizeof *all), most;
	size_t count = 0;

	for (size_t i = 0; i < d->endpoint_count; i++)
		if (d->endpoints[i].status.date_s)
			all[count++] = d->endpoints[i].ahead_s;
	qsort(all, count, sizeof *all, compare);
	most = count ? all[count / 2] : 0;
	free(all);
	if (far(most))
		ls_doctor_clock_wrong(
			d, ls_format("the clock of this machine is %lld s %s %s",
				   (long long)llabs(most), apart(-most),
				   count == 1 ? "that of etcd; one of the two is wrong"
					      : "that of most of etcd's machines"));
	for (size_t i = 0; i < d->endpoint_count; i++) {
		const struct ls_doctor_endpoint *e = &d->endpoints[i];

		if (e->status.date_s && far(e->ahead_s - most))
			ls_doctor_wrong(d,
				ls_format(
					"the clock of the machine of etcd at %s is %lld s %s that "
					"of the others",
					e->url, (long long)llabs(e->ahead_s - most),
					apart(e->ahead_s - most)),
				"Certificates look as if they were not valid yet or still valid.",
				"is mended on that machine", NULL);
	}
}

/* ---- all of it ---- */

char *ls_doctor_migrate_command(const struct ls_doctor *d)
{
	struct ls_buf urls = { 0 };
	char *command;

	for (size_t i = 0; i < ls_strv_count(d->a->engine.endpoints); i++)
		ls_buf_printf(&urls, "%s%s", i ? "," : "", d->a->engine.endpoints[i]);
	command = ls_format("%s store migrate --etcd %s", d->self, ls_buf_text(&urls));
	ls_buf_done(&urls);
	return command;
}

void ls_doctor_engine(struct ls_doctor *d)
{
	LS_CLEANUP(ls_free_str) char *lib = ls_doctor_quote(d->paths.lib);
	bool usable;

	if (d->no_engine.code != LS_OK) {
		ls_doctor_wrong(d, ls_strdup(d->no_engine.text),
			"The file says where the store is. Without it lockstepd does not open the "
			"node; live files stay as they are.",
			"puts it back from a backup of the whole directory, for BACKUP; any other "
			"node of the cluster has the same file",
			ls_format("cp -a BACKUP/store/etcd.json %s/store/", lib));
		return;
	}
	usable = check_leaves(d);
	if (!d->a->engine.endpoints)
		return;
	if (!d->endpoints)
		ls_doctor_ask_engine(d);
	if (usable) /* without a certificate etcd cannot be asked how it is */
		check_endpoints(d);
	check_clocks(d);
	if (d->a->engine.migrating)
		ls_doctor_wrong(d,
			ls_strdup("the move of the store to etcd was begun and is not finished"),
			"As long as it is, neither store takes a change.",
			"has it finished, which lockstepd also tries by itself",
			ls_doctor_look_command(d));
}
