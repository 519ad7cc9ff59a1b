#include "tests/fuzz/support/fixed.h"

#include <stdlib.h>

#include "pki/key.h"

static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
			      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgiJ4ekjAp5NdgYk6z\n"
			      "ikABzptTzxQuQn7JgWx56KQZ71ehRANCAAQqnxr+ESMnwcteUTab0PH4swAT6ZpU\n"
			      "WwLOi1QQ8znONysZRR2RYy8Dn5fPfZ2IkQ8ehxwOMYpafaPvq9K/Tq3S\n"
			      "-----END PRIVATE KEY-----\n";

static const char ca_pem[] = "-----BEGIN CERTIFICATE-----\n"
			     "MIIBkDCCATagAwIBAgIBQTAKBggqhkjOPQQDAjAtMQ0wCwYDVQQKDARwcm9kMRww\n"
			     "GgYDVQQDDBNMb2Nrc3RlcCBjbHVzdGVyIENBMCAXDTI2MTEyMjAyNDMwN1oYDzMw\n"
			     "MjYwMzI1MDI0MzA3WjAtMQ0wCwYDVQQKDARwcm9kMRwwGgYDVQQDDBNMb2Nrc3Rl\n"
			     "cCBjbHVzdGVyIENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKp8a/hEjJ8HL\n"
			     "XlE2m9Dx+LMAE+maVFsCzotUEPM5zjcrGUUdkWMvA5+Xz32diJEPHoccDjGKWn2j\n"
			     "76vSv06t0qNFMEMwEgYDVR0TAQH/BAgwBgEB/wIBADAOBgNVHQ8BAf8EBAMCAQYw\n"
			     "HQYDVR0OBBYEFBbIc2n44UShaanqy5c5ZJF1/d1LMAoGCCqGSM49BAMCA0gAMEUC\n"
			     "IE4itzJYaOHBjx+/ilQWqfnr2TEaexQLe+/v10a1s0e1AiEAu5DQ4ClV/it3xCdm\n"
			     "iDR2zab4Y5yvb2rR1AaioxVzfw4=\n"
			     "-----END CERTIFICATE-----\n";

static const char signing_pem[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBuDCCAV+gAwIBAgIBQjAKBggqhkjOPQQDAjAtMQ0wCwYDVQQKDARwcm9kMRww\n"
	"GgYDVQQDDBNMb2Nrc3RlcCBjbHVzdGVyIENBMCAXDTI2MTEyMjAyNDMwN1oYDzMw\n"
	"MjYwMzI1MDI0MzA3WjAcMQ0wCwYDVQQKDARwcm9kMQswCQYDVQQLDAJuMTBZMBMG\n"
	"ByqGSM49AgEGCCqGSM49AwEHA0IABCqfGv4RIyfBy15RNpvQ8fizABPpmlRbAs6L\n"
	"VBDzOc43KxlFHZFjLwOfl899nYiRDx6HHA4xilp9o++r0r9OrdKjfzB9MAwGA1Ud\n"
	"EwEB/wQCMAAwDgYDVR0PAQH/BAQDAgeAMB0GA1UdEQQWMBSGEmxvY2tzdGVwOi8v\n"
	"cHJvZC9uMTAdBgNVHQ4EFgQUFshzafjhRKFpqerLlzlkkXX93UswHwYDVR0jBBgw\n"
	"FoAUFshzafjhRKFpqerLlzlkkXX93UswCgYIKoZIzj0EAwIDRwAwRAIgU8G7cLNn\n"
	"+WlnCFR2Tic5doQLKHVDQRjYe9byTubVFGwCID4hmbrIajwjdHpwniyJ7MIAkRyi\n"
	"zEOxMElJvFTIcML1\n"
	"-----END CERTIFICATE-----\n";

static const char wrapping_pem[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBujCCAV+gAwIBAgIBQzAKBggqhkjOPQQDAjAtMQ0wCwYDVQQKDARwcm9kMRww\n"
	"GgYDVQQDDBNMb2Nrc3RlcCBjbHVzdGVyIENBMCAXDTI2MTEyMjAyNDMwN1oYDzMw\n"
	"MjYwMzI1MDI0MzA3WjAcMQ0wCwYDVQQKDARwcm9kMQswCQYDVQQLDAJuMTBZMBMG\n"
	"ByqGSM49AgEGCCqGSM49AwEHA0IABCqfGv4RIyfBy15RNpvQ8fizABPpmlRbAs6L\n"
	"VBDzOc43KxlFHZFjLwOfl899nYiRDx6HHA4xilp9o++r0r9OrdKjfzB9MAwGA1Ud\n"
	"EwEB/wQCMAAwDgYDVR0PAQH/BAQDAgMIMB0GA1UdEQQWMBSGEmxvY2tzdGVwOi8v\n"
	"cHJvZC9uMTAdBgNVHQ4EFgQUFshzafjhRKFpqerLlzlkkXX93UswHwYDVR0jBBgw\n"
	"FoAUFshzafjhRKFpqerLlzlkkXX93UswCgYIKoZIzj0EAwIDSQAwRgIhAO9VPVuA\n"
	"UpDoQAFaR/9gK3EVHbhyZ+imjK0kaXeE1P32AiEAglDoz5XzA+Fe20q7lmjTNpzd\n"
	"RrJq8VknG8pStaPRhpQ=\n"
	"-----END CERTIFICATE-----\n";

struct evp_pkey_st *fixed_key(void)
{
	static struct evp_pkey_st *key;
	struct ls_err err;

	if (!key && ls_key_from_pem("key", LS_BYTES_STR(key_pem), (struct ls_bytes){ 0 }, &key,
			    &err) != LS_OK)
		abort();
	return key;
}

static void fill(struct ls_signer *out, const char *cert)
{
	ls_buf_clear(&out->cert_pem);
	ls_buf_str(&out->cert_pem, cert);
	out->key = fixed_key();
}

void fixed_ca(struct ls_signer *out)
{
	fill(out, ca_pem);
}

void fixed_member(struct ls_signer *out)
{
	fill(out, signing_pem);
}

void fixed_wrapping(struct ls_signer *out)
{
	fill(out, wrapping_pem);
}
