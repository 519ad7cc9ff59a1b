/* der -- takes DER apart and changes it at one place, with the lengths around it made right.
 *
 * Only definite lengths and tags of one byte, which is all that certificates, keys and CMS use;
 * what is inside an OCTET STRING or a BIT STRING and reads as whole elements counts as nested.
 */
#ifndef LS_TESTS_FUZZ_DER_H
#define LS_TESTS_FUZZ_DER_H

#include "base/bytes.h"

struct der_node {
	size_t at;   /* of the tag */
	size_t head; /* bytes of tag and length */
	size_t len;  /* of the content */
	int depth;
	bool nested; /* has elements inside */
};

/* The elements in the order in which they stand; at most `max`. 0: not whole elements to the end.
 */
size_t der_nodes(struct ls_bytes der, struct der_node *out, size_t max);
/* Reads one element's head at `at`. */
bool der_head(struct ls_bytes der, size_t at, struct der_node *out);
/* Replaces [at, at + gone) by `put`. The bytes that go must lie inside one element or be whole
 * elements; the lengths of all elements around them become those of the new contents. With nothing
 * going, `put` comes in front of the byte at `at`. */
void der_splice(
	struct ls_bytes der, size_t at, size_t gone, struct ls_bytes put, struct ls_buf *out);
/* Appends an element. */
void der_add(struct ls_buf *out, unsigned char tag, struct ls_bytes content);

/* "-----BEGIN label-----" and so on, appended. */
void der_to_pem(struct ls_bytes der, const char *label, struct ls_buf *out);

#endif
