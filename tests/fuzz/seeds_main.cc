// fuzz_seeds --write DIRECTORY: writes the seeds. fuzz_seeds DIRECTORY: fails
// where a seed that is there is not what the writers write today.

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "data/storage/file_system.h"
#include "tests/fuzz/reader_seeds.h"

namespace moe {
namespace {

constexpr int64_t kMaxSeedBytes = int64_t{1} << 20;

SeedFiles AllSeeds() {
  SeedFiles seeds;
  AddSafetensorsSeeds(seeds);
  AddCheckpointSeeds(seeds);
  AddConfigSeeds(seeds);
  AddDataSeeds(seeds);
  return seeds;
}

absl::Status WriteSeeds(const std::string& directory) {
  FileSystem& files = PosixFileSystem();
  for (const auto& [name, bytes] : AllSeeds()) {
    RETURN_IF_ERROR(files.MakeDirectories(
        JoinPath(directory, name.substr(0, name.find('/')))));
    RETURN_IF_ERROR(WriteDurably(files, JoinPath(directory, name), bytes));
  }
  return absl::OkStatus();
}

absl::Status CompareSeeds(const std::string& directory) {
  for (const auto& [name, bytes] : AllSeeds()) {
    ASSIGN_OR_RETURN(
        const std::string stored,
        PosixFileSystem().ReadFile(JoinPath(directory, name), kMaxSeedBytes));
    if (stored != bytes) {
      return absl::DataLossError(absl::StrCat(
          name, " is not what is written today; fuzz_seeds --write ",
          directory));
    }
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) {
  const bool write = argc == 3 && std::string(argv[1]) == "--write";
  if (!write && argc != 2) {
    std::fprintf(stderr, "fuzz_seeds [--write] DIRECTORY\n");
    return 64;
  }
  const absl::Status status =
      write ? moe::WriteSeeds(argv[2]) : moe::CompareSeeds(argv[1]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}
