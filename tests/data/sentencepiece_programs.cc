#include "tests/data/sentencepiece_programs.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "comm/base/status_macros.h"
#include "data/storage/child_process.h"

namespace moe {

SentencePiecePrograms::SentencePiecePrograms(const std::string& model_bytes) {
  directory_.Write("model", model_bytes);
}

absl::Status SentencePiecePrograms::Run(
    const std::vector<std::string>& command) {
  ChildProcess child;
  child.command = command;
  child.directory = directory_.path();
  child.output_path = directory_.Path("said");
  ASSIGN_OR_RETURN(const ChildExit exit, RunChild(child));
  if (exit.signal == 0 && exit.code == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(command[0], ": ", exit.ToString(), directory_.Read("said")));
}

absl::StatusOr<std::vector<std::vector<int32_t>>> SentencePiecePrograms::Encode(
    absl::string_view lines) {
  directory_.Write("in", lines);
  RETURN_IF_ERROR(Run({"spm_encode", "--model=model", "--output_format=id",
                       "--input=in", "--output=out"}));
  std::vector<std::vector<int32_t>> all;
  const std::string out = directory_.Read("out");
  for (const absl::string_view line : absl::StrSplit(out, '\n')) {
    std::vector<int32_t>& ids = all.emplace_back();
    for (const absl::string_view word :
         absl::StrSplit(line, ' ', absl::SkipEmpty())) {
      if (!absl::SimpleAtoi(word, &ids.emplace_back())) {
        return absl::InternalError(absl::StrCat("no id: ", word));
      }
    }
  }
  all.pop_back();  // behind the last line's end
  return all;
}

absl::StatusOr<std::string> SentencePiecePrograms::Decode(
    const std::vector<std::vector<int32_t>>& ids) {
  std::string lines;
  for (const std::vector<int32_t>& line : ids) {
    absl::StrAppend(&lines, absl::StrJoin(line, " "), "\n");
  }
  directory_.Write("in", lines);
  RETURN_IF_ERROR(Run({"spm_decode", "--model=model", "--input_format=id",
                       "--input=in", "--output=out"}));
  return directory_.Read("out");
}

}  // namespace moe
