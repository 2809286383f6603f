// manifest.textproto of a checkpoint. Its last line is a digest of the rest,
// which no fuzzer guesses: the same bytes are also read with a digest that is
// right.

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/base/check.h"
#include "tests/fuzz/fuzz_target.h"
#include "trainer/checkpoint/format/manifest.h"

namespace moe {
namespace {

void CheckPromises(const CheckpointManifest& manifest) {
  CHECK(manifest.version() == kManifestVersion);
  CHECK(manifest.step() >= 0 && manifest.consumed_samples() >= 0);
  CHECK(manifest.skipped_steps() >= 0 &&
        manifest.skipped_steps() <= manifest.step());
  std::set<std::string> names;
  for (const CheckpointManifest::File& file : manifest.file()) {
    CHECK(names.insert(file.name()).second && file.num_bytes() >= 0);
    CHECK(!file.name().empty() && file.name() != "." && file.name() != "..");
    CHECK(file.name().find_first_of(std::string("/\0", 2)) ==
          std::string::npos);
  }
  const std::string text = ManifestText(manifest);
  const auto again = ParseManifest(text, "again");
  CHECK(again.ok() && ManifestText(*again) == text);
}

}  // namespace

absl::Status ReadHostile(absl::string_view bytes) {
  const auto as_it_is = ParseManifest(bytes, "manifest");
  if (as_it_is.ok()) CheckPromises(*as_it_is);

  const auto signed_text = ParseManifest(
      absl::StrCat(bytes, absl::StrFormat("# xxh3 %016x\n", Digest(bytes))),
      "manifest");
  if (signed_text.ok()) CheckPromises(*signed_text);
  return as_it_is.status();
}

}  // namespace moe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  moe::ReadHostile({reinterpret_cast<const char*>(data), size}).IgnoreError();
  return 0;
}
