/* disk -- a disk that remembers every write and every flush, and makes of that what a power cut
 * would have left at any of them.
 *
 * usage: disk serve IMAGE LOG MOUNTPOINT
 *        disk list LOG
 *        disk state LOG AT flushed|written|torn SEED IMAGE
 *
 * `serve` shows IMAGE as MOUNTPOINT/disk, to be put under a loop device, and appends what happens
 * to LOG. It runs in the foreground with one thread, so the log's order is the order of arrival. A
 * flush of the loop device arrives as fsync (a FUA write as write and fsync), and only then is
 * something called durable. Writing a line to MOUNTPOINT/mark puts it into the log.
 *
 * `list` prints the log: "<number> write <offset> <bytes>", "<number> flush", "<number> mark
 * <text>".
 *
 * `state` applies the log, up to and including entry AT, to a copy of what IMAGE was at the start:
 * `flushed` what was flushed by then (a volatile cache lost all else), `written` all writes (it
 * lost nothing), `torn` what was flushed and, of the later writes, some whole, some not at all, and
 * of some a part of the sectors (a cache that was writing back in any order; SEED decides). A
 * sector is what today's disks write whole, 4096 bytes.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES 512 /* what is addressed */
#define SECTOR_BYTES 4096
#define MARK_BYTES_MAX 500

enum kind { KIND_WRITE = 1, KIND_FLUSH, KIND_MARK };

struct entry { /* in the log, followed by `len` bytes */
	uint32_t kind, len;
	int64_t at;
};

static int image_fd = -1, log_fd = -1;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "disk: %s: %m\n", what);
	exit(1);
}

static bool write_all(int fd, const void *data, size_t len, off_t at)
{
	const char *from = data;

	while (len > 0) {
		ssize_t n = at < 0 ? write(fd, from, len) : pwrite(fd, from, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		from += n;
		len -= (size_t)n;
		at += at < 0 ? 0 : n;
	}
	return true;
}

/* ---- serve ---- */

/* A log with a hole would prove anything, so the disk does not outlive its log. */
static void record(enum kind kind, const void *data, size_t len, off_t at)
{
	struct entry entry = { kind, (uint32_t)len, at };

	if (!write_all(log_fd, &entry, sizeof entry, -1) || !write_all(log_fd, data, len, -1))
		fail("write the log");
}

static bool is_disk(const char *path)
{
	return strcmp(path, "/disk") == 0;
}

static bool is_mark(const char *path)
{
	return strcmp(path, "/mark") == 0;
}

static int on_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
	(void)info;
	*st = (struct stat){ .st_mode = S_IFREG | 0600, .st_nlink = 1 };
	if (strcmp(path, "/") == 0)
		st->st_mode = S_IFDIR | 0700;
	else if (is_disk(path))
		return fstat(image_fd, st) == 0 ? 0 : -errno;
	else if (!is_mark(path))
		return -ENOENT;
	return 0;
}

/* No cache between the loop device and the log. */
static int on_open(const char *path, struct fuse_file_info *info)
{
	info->direct_io = 1;
	return is_disk(path) || is_mark(path) ? 0 : -ENOENT;
}

static int on_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
	(void)size; /* a shell opens the mark with O_TRUNC */
	(void)info;
	return is_mark(path) ? 0 : -EPERM;
}

static int on_read(const char *path, char *to, size_t len, off_t at, struct fuse_file_info *info)
{
	ssize_t n = is_disk(path) ? pread(image_fd, to, len, at) : 0;

	(void)info;
	return n < 0 ? -errno : (int)n;
}

static int on_write(
	const char *path, const char *data, size_t len, off_t at, struct fuse_file_info *info)
{
	(void)info;
	if (is_mark(path)) {
		if (len == 0 || len > MARK_BYTES_MAX || data[len - 1] != '\n')
			return -EINVAL;
		record(KIND_MARK, data, len - 1, 0);
		return (int)len;
	}
	if (at % BLOCK_BYTES != 0 || len % BLOCK_BYTES != 0)
		return -EINVAL;
	record(KIND_WRITE, data, len, at);
	return write_all(image_fd, data, len, at) ? (int)len : -errno;
}

static int on_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
	(void)data_only;
	(void)info;
	if (is_disk(path))
		record(KIND_FLUSH, NULL, 0, 0);
	return 0;
}

static int serve(char **argv)
{
	static const struct fuse_operations operations = { .getattr = on_getattr,
		.open = on_open,
		.truncate = on_truncate,
		.read = on_read,
		.write = on_write,
		.fsync = on_fsync };
	char *fuse_argv[] = { argv[0], argv[4], NULL, NULL, NULL };
	char foreground[] = "-f", one_thread[] = "-s";

	fuse_argv[2] = foreground;
	fuse_argv[3] = one_thread;
	image_fd = open(argv[2], O_RDWR | O_CLOEXEC);
	if (image_fd < 0)
		fail(argv[2]);
	log_fd = open(argv[3], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (log_fd < 0)
		fail(argv[3]);
	return fuse_main(4, fuse_argv, &operations, NULL);
}

/* ---- list, state ---- */

struct journal {
	const char *data;
	size_t len, used;
	long number; /* of the entry read last */
};

static void journal_open(struct journal *journal, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		fail(path);
	*journal = (struct journal){ .len = (size_t)st.st_size };
	journal->data = st.st_size ? mmap(NULL, journal->len, PROT_READ, MAP_PRIVATE, fd, 0) : "";
	if (journal->data == MAP_FAILED)
		fail(path);
	(void)close(fd);
}

/* False at the end. The entry that a disk was writing when it was stopped is no entry. */
static bool journal_next(struct journal *journal, struct entry *entry, const char **out_data)
{
	if (journal->len - journal->used < sizeof *entry)
		return false;
	memcpy(entry, journal->data + journal->used, sizeof *entry);
	if (journal->len - journal->used - sizeof *entry < entry->len)
		return false;
	*out_data = journal->data + journal->used + sizeof *entry;
	journal->used += sizeof *entry + entry->len;
	journal->number++;
	return true;
}

static int list(const char *path)
{
	struct journal journal;
	struct entry entry;
	const char *data;

	journal_open(&journal, path);
	while (journal_next(&journal, &entry, &data)) {
		if (entry.kind == KIND_WRITE)
			printf("%ld write %" PRId64 " %" PRIu32 "\n", journal.number, entry.at,
				entry.len);
		else if (entry.kind == KIND_FLUSH)
			printf("%ld flush\n", journal.number);
		else
			printf("%ld mark %.*s\n", journal.number, (int)entry.len, data);
	}
	return 0;
}

/* splitmix64: the same choices on every machine. */
static uint64_t draw(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static long last_flush(const char *path, long at)
{
	struct journal journal;
	struct entry entry;
	const char *data;
	long found = 0;

	journal_open(&journal, path);
	while (journal.number < at && journal_next(&journal, &entry, &data))
		if (entry.kind == KIND_FLUSH)
			found = journal.number;
	if (journal.number < at) {
		fprintf(stderr, "disk: the log has only %ld entries\n", journal.number);
		exit(1);
	}
	return found;
}

static void put(int fd, const struct entry *entry, const char *data, size_t from, size_t len)
{
	if (!write_all(fd, data + from, len, (off_t)(entry->at + (int64_t)from)))
		fail("write the image");
}

static void put_torn(int fd, const struct entry *entry, const char *data, uint64_t *seed)
{
	uint64_t fate = draw(seed) % 4;

	if (fate == 0)
		put(fd, entry, data, 0, entry->len);
	else if (fate == 1)
		for (size_t i = 0, len; i < entry->len; i += len) {
			len = SECTOR_BYTES - (size_t)(entry->at + (int64_t)i) % SECTOR_BYTES;
			if (len > entry->len - i)
				len = entry->len - i;
			if (draw(seed) % 2)
				put(fd, entry, data, i, len);
		}
}

static int state(char **argv)
{
	const char *how = argv[4];
	long at = strtol(argv[3], NULL, 10), flushed = last_flush(argv[2], at);
	uint64_t seed = strtoull(argv[5], NULL, 10);
	int fd = open(argv[6], O_WRONLY | O_CLOEXEC);
	struct journal journal;
	struct entry entry;
	const char *data;

	if (fd < 0)
		fail(argv[6]);
	journal_open(&journal, argv[2]);
	while (journal.number < at && journal_next(&journal, &entry, &data)) {
		if (entry.kind != KIND_WRITE)
			continue;
		if (journal.number < flushed || strcmp(how, "written") == 0)
			put(fd, &entry, data, 0, entry.len);
		else if (strcmp(how, "torn") == 0)
			put_torn(fd, &entry, data, &seed);
	}
	return close(fd) == 0 ? 0 : 1;
}

static bool is_how(const char *text)
{
	return strcmp(text, "flushed") == 0 || strcmp(text, "written") == 0 ||
	       strcmp(text, "torn") == 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "serve") == 0)
		return serve(argv);
	if (argc == 3 && strcmp(argv[1], "list") == 0)
		return list(argv[2]);
	if (argc == 7 && strcmp(argv[1], "state") == 0 && is_how(argv[4]))
		return state(argv);
	fprintf(stderr, "usage: disk serve IMAGE LOG MOUNTPOINT | list LOG | "
			"state LOG AT flushed|written|torn SEED IMAGE\n");
	return 2;
}
