#ifndef TESTS_FUZZ_FUZZ_TARGET_H_
#define TESTS_FUZZ_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

// What each target of this folder defines. A CHECK that fails in one of them,
// the target's own or the reader's, aborts (abort_on_check.cc).

namespace moe {

// Hands the bytes to one reader of the program and returns its answer. What the
// reader accepts must keep the reader's promises.
absl::Status ReadHostile(absl::string_view bytes);

}  // namespace moe

// The entry that libFuzzer and replay_main.cc call.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#endif  // TESTS_FUZZ_FUZZ_TARGET_H_
