// Runs a fuzz target on files where there is no libFuzzer:
//
//   NAME_replay [--mutate=N] [--seed=S] [--last=FILE] FILES-OR-DIRECTORIES
//
// Each file once, then N mutations of them. A file called accepted_* must be
// accepted and one called refused_* refused. While the target runs, the heap
// must stay under 32 bytes for each of the input and 64 MiB; in a build with
// AddressSanitizer, which has its own heap, that is not looked at. After a
// crash, run again with --last: FILE then holds the input that did it.

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "data/storage/file_system.h"
#include "tests/counted_heap.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/mutator.h"

namespace moe {
namespace {

constexpr int64_t kHeapPerByte = 32;
constexpr int64_t kHeapBase = int64_t{64} << 20;
constexpr int64_t kMaxSeedBytes = int64_t{64} << 20;

struct Flags {
  std::vector<std::string> paths;
  int64_t mutate = 0;
  uint64_t seed = 1;
  std::string last;
};

struct Seeds {
  std::vector<std::string> paths;
  std::vector<std::string> bytes;
};

absl::StatusOr<Flags> ParseFlags(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    absl::string_view word = argv[i];
    bool good = true;
    if (absl::ConsumePrefix(&word, "--mutate=")) {
      good = absl::SimpleAtoi(word, &flags.mutate);
    } else if (absl::ConsumePrefix(&word, "--seed=")) {
      good = absl::SimpleAtoi(word, &flags.seed);
    } else if (absl::ConsumePrefix(&word, "--last=")) {
      flags.last = std::string(word);
    } else {
      flags.paths.emplace_back(word);
    }
    if (!good) {
      return absl::InvalidArgumentError(
          absl::StrCat(argv[i], " must be a whole number"));
    }
  }
  return flags;
}

absl::Status AddSeeds(FileSystem& files, const std::string& path,
                      Seeds& seeds) {
  if (!files.IsDirectory(path)) {
    ASSIGN_OR_RETURN(std::string bytes, files.ReadFile(path, kMaxSeedBytes));
    seeds.paths.push_back(path);
    seeds.bytes.push_back(std::move(bytes));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(path));
  for (const std::string& name : names)
    RETURN_IF_ERROR(AddSeeds(files, JoinPath(path, name), seeds));
  return absl::OkStatus();
}

// The reader's answer. Bytes end where their memory ends, so that a sanitizer
// sees the first one read behind them.
absl::Status RunOnce(const Flags& flags, const std::string& input) {
  if (!flags.last.empty())
    CHECK(WriteDurably(PosixFileSystem(), flags.last, input).ok());
  const std::vector<char> bytes(input.begin(), input.end());
  ForgetPeakHeap();
  const int64_t before = LiveHeapBytes();
  const absl::Status status =
      ReadHostile(absl::string_view(bytes.data(), bytes.size()));
  const int64_t size = static_cast<int64_t>(bytes.size());
  CHECK(PeakHeapBytes() - before <= kHeapPerByte * size + kHeapBase);
  return status;
}

// Whether the answer is the one that the file's name asks for.
bool IsAsNamed(const std::string& path, const absl::Status& status) {
  const absl::string_view name =
      absl::string_view(path).substr(path.rfind('/') + 1);
  const bool wrong = (absl::StartsWith(name, "accepted_") && !status.ok()) ||
                     (absl::StartsWith(name, "refused_") && status.ok());
  if (wrong)
    std::fprintf(stderr, "%s: %s\n", path.c_str(), status.ToString().c_str());
  return !wrong;
}

absl::Status Replay(const Flags& flags) {
  Seeds seeds;
  for (const std::string& path : flags.paths)
    RETURN_IF_ERROR(AddSeeds(PosixFileSystem(), path, seeds));
  if (seeds.paths.empty()) return absl::InvalidArgumentError("no seeds");

  int64_t wrong = 0;
  for (size_t i = 0; i < seeds.paths.size(); ++i)
    if (!IsAsNamed(seeds.paths[i], RunOnce(flags, seeds.bytes[i]))) ++wrong;

  Mutator mutator(seeds.bytes, flags.seed);
  int64_t accepted = 0;
  for (int64_t i = 0; i < flags.mutate; ++i)
    if (RunOnce(flags, mutator.Next()).ok()) ++accepted;
  std::printf("%zu seeds, %d mutations, %d of them accepted\n",
              seeds.paths.size(), static_cast<int>(flags.mutate),
              static_cast<int>(accepted));
  if (wrong == 0) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(wrong, " seeds are not answered as they are named"));
}

absl::Status Main(int argc, char** argv) {
  ASSIGN_OR_RETURN(const Flags flags, ParseFlags(argc, argv));
  return Replay(flags);
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) {
  const absl::Status status = moe::Main(argc, argv);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}
