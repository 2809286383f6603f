// dump_tokenizer DIRECTORY...: what our tokenizer is to others and makes of
// texts. Reads tokenizer.model and texts.json (an array of strings) of each
// directory, writes the files that a checkpoint has for transformers beside
// them, and ours.json: {"ids": [[...], ...], "decoded": [...], "refused": why
// there is no tokenizer.json, or ""}. A model that we do not read: {"no_model":
// why}.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/base/status_macros.h"
#include "data/storage/file_system.h"
#include "data/text/hf_tokenizer.h"
#include "data/text/tokenizer.h"

namespace moe {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxBytes = int64_t{64} << 20;

absl::Status WriteJson(const std::string& path, const Json& json) {
  return WriteFileAtomically(PosixFileSystem(), path, json.dump());
}

absl::Status Dump(const std::string& directory) {
  FileSystem& files = PosixFileSystem();
  const std::string out = JoinPath(directory, "ours.json");
  const auto tokenizer =
      Tokenizer::Load(JoinPath(directory, "tokenizer.model"));
  if (!tokenizer.ok())
    return WriteJson(out, {{"no_model", tokenizer.status().message()}});
  ASSIGN_OR_RETURN(
      const std::string texts,
      files.ReadFile(JoinPath(directory, "texts.json"), kMaxBytes));
  Json ours = {{"ids", Json::array()}, {"decoded", Json::array()}};
  for (const std::string text : Json::parse(texts)) {
    std::vector<int32_t> ids;
    (*tokenizer)->Encode(text, ids);
    ours["decoded"].push_back((*tokenizer)->Decode(ids));
    ours["ids"].push_back(std::move(ids));
  }
  ours["refused"] = CheckTokenizerExport(**tokenizer).message();
  for (const NamedFile& file :
       HuggingFaceTokenizerFiles(**tokenizer, /*add_bos=*/true)) {
    RETURN_IF_ERROR(WriteFileAtomically(files, JoinPath(directory, file.name),
                                        file.contents));
  }
  return WriteJson(out, ours);
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::Status status = moe::Dump(argv[i]);
    if (status.ok()) continue;
    fprintf(stderr, "dump_tokenizer: %s: %s\n", argv[i],
            std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
