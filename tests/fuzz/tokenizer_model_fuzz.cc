// tokenizer.model of SentencePiece, and what it makes of its own bytes as text.

#include <string>
#include <vector>

#include "comm/base/check.h"
#include "data/text/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"

namespace moe {
namespace {

bool IsControl(const Tokenizer& tokenizer, int id) {
  return id >= 0 && id < tokenizer.vocab_size() &&
         tokenizer.model().pieces[static_cast<size_t>(id)].type ==
             PieceType::kControl;
}

void CheckSpecialIds(const Tokenizer& tokenizer) {
  CHECK(tokenizer.vocab_size() > 0);
  CHECK(tokenizer.unk_id() >= 0);
  CHECK(tokenizer.unk_id() < tokenizer.vocab_size());
  for (const int id : {tokenizer.bos_id(), tokenizer.eos_id()})
    CHECK(id == -1 || IsControl(tokenizer, id));
  for (int id = 0; id < tokenizer.vocab_size(); ++id)
    CHECK(!tokenizer.Piece(id).empty());
}

// Ids of text are no control pieces; streamed and whole they are one text.
void CheckText(const Tokenizer& tokenizer, absl::string_view text) {
  std::vector<int32_t> ids;
  tokenizer.Encode(text, ids);
  StreamDecoder decoder(tokenizer);
  std::string streamed;
  for (const int32_t id : ids) {
    CHECK(id >= 0 && id < tokenizer.vocab_size() && !IsControl(tokenizer, id));
    streamed += decoder.Push(id);
  }
  CHECK(tokenizer.Decode(ids) == streamed + decoder.Finish());
}

}  // namespace

absl::Status ReadHostile(absl::string_view bytes) {
  const auto tokenizer = Tokenizer::FromBytes(std::string(bytes));
  if (!tokenizer.ok()) return tokenizer.status();
  CHECK((*tokenizer)->model_bytes() == bytes);
  CheckSpecialIds(**tokenizer);
  CheckText(**tokenizer, bytes);
  CheckText(**tokenizer, "  the quick\tbrown \xE2\x96\x81 fox\n\xFF ");
  // Ids that no text has, and such as the model does not know.
  std::vector<int32_t> ids = {-1, (*tokenizer)->vocab_size()};
  for (int id = 0; id < (*tokenizer)->vocab_size(); ++id) ids.push_back(id);
  (*tokenizer)->Decode(ids);
  return absl::OkStatus();
}

}  // namespace moe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  moe::ReadHostile({reinterpret_cast<const char*>(data), size}).IgnoreError();
  return 0;
}
