#ifndef TESTS_DATA_SENTENCEPIECE_PROGRAMS_H_
#define TESTS_DATA_SENTENCEPIECE_PROGRAMS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tests/data/temporary_directory.h"

namespace moe {

// spm_encode and spm_decode of the Debian package sentencepiece, the oracle of
// our tokenizer. They work line by line.
class SentencePiecePrograms {
 public:
  explicit SentencePiecePrograms(const std::string& model_bytes);

  // The ids of each line, without its end.
  absl::StatusOr<std::vector<std::vector<int32_t>>> Encode(
      absl::string_view lines);
  // A line of text for each list of ids, one string with all line ends.
  absl::StatusOr<std::string> Decode(
      const std::vector<std::vector<int32_t>>& ids);

 private:
  absl::Status Run(const std::vector<std::string>& command);

  TemporaryDirectory directory_;
};

}  // namespace moe

#endif  // TESTS_DATA_SENTENCEPIECE_PROGRAMS_H_
