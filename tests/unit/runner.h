/* runner -- main() of a unit test program: runs the suite that the including file names and fails
 * if nothing ran.
 *
 * A test file defines its tests and ends with LS_TEST_MAIN(name, test1, test2, …); fixtures:
 * LS_TEST_MAIN_FIXTURE.
 */
#ifndef LS_TESTS_UNIT_RUNNER_H
#define LS_TESTS_UNIT_RUNNER_H

#include <check.h>

#include "base/bytes.h"

#define ck_ok(call)                                                                                \
	do {                                                                                       \
		struct ls_err *ls_err_ = &err;                                                     \
		enum ls_code ls_code_ = (call);                                                    \
		ck_assert_msg(ls_code_ == LS_OK, "%s: %s: %s", #call, ls_code_text(ls_code_),      \
			ls_err_->text);                                                            \
	} while (0)
#define ck_code(call, want)                                                                        \
	do {                                                                                       \
		enum ls_code ls_code_ = (call);                                                    \
		ck_assert_msg(ls_code_ == (want), "%s: got '%s', wanted '%s' (%s)", #call,         \
			ls_code_text(ls_code_), ls_code_text(want), err.text);                     \
	} while (0)

static int runner_run(
	const char *name, const TTest *const *tests, size_t count, SFun setup, SFun teardown)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	SRunner *runner;
	int failed, ran;

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	ran = srunner_ntests_run(runner);
	srunner_free(runner);
	return failed > 0 || ran < (int)count;
}

#define LS_TEST_MAIN_FIXTURE(name, setup, teardown, ...)                                           \
	int main(void)                                                                             \
	{                                                                                          \
		const TTest *const tests[] = { __VA_ARGS__ };                                      \
		return runner_run(name, tests, LS_COUNT(tests), setup, teardown);                  \
	}
#define LS_TEST_MAIN(name, ...) LS_TEST_MAIN_FIXTURE(name, NULL, NULL, __VA_ARGS__)

#endif
