#include <string>

#include "absl/strings/escaping.h"
#include "tests/data/model_builder.h"
#include "tests/fuzz/reader_seeds.h"

namespace moe {
namespace {

// --- Megatron's pair --------------------------------------------------------

// The format's own example: documents [1, 2, 3] and [4, 5] of uint16.
constexpr char kGoldenIdx[] =
    "4d4d4944494458000001000000000000000802000000000000000300000000000000030000"
    "00020000000000000000000000060000000000000000000000000000000100000000000000"
    "0200000000000000";
constexpr char kGoldenBin[] = "01000200030004000500";

std::string Pair(const std::string& idx, const std::string& bin) {
  std::string pair;
  pair.push_back(static_cast<char>(idx.size() & 0xff));
  pair.push_back(static_cast<char>(idx.size() >> 8));
  return pair + idx + bin;
}

// The example with one byte of .idx set.
std::string GoldenWith(size_t offset, char value) {
  std::string idx = absl::HexStringToBytes(kGoldenIdx);
  idx[offset] = value;
  return Pair(idx, absl::HexStringToBytes(kGoldenBin));
}

void AddPairs(SeedFiles& seeds) {
  const std::string idx = absl::HexStringToBytes(kGoldenIdx);
  const std::string bin = absl::HexStringToBytes(kGoldenBin);
  const std::string at = "indexed_dataset/";
  seeds[at + "accepted_golden"] = Pair(idx, bin);
  seeds[at + "accepted_modes"] = Pair(idx + std::string(2, '\0'), bin);
  seeds[at + "accepted_empty_document"] = GoldenWith(34 + 24 + 8, '\0');
  std::string nothing = idx.substr(0, 34) + std::string(8, '\0');
  nothing.replace(18, 16, std::string("\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16));
  seeds[at + "accepted_nothing"] = Pair(nothing, "");
  seeds[at + "refused_magic"] = GoldenWith(0, 'm');
  seeds[at + "refused_version"] = GoldenWith(9, 2);
  seeds[at + "refused_float_tokens"] = GoldenWith(17, 7);
  seeds[at + "refused_token_type"] = GoldenWith(17, 9);
  seeds[at + "refused_huge_count"] = GoldenWith(25, '\x80');
  seeds[at + "refused_count"] = GoldenWith(18, 3);
  seeds[at + "refused_negative_length"] = GoldenWith(37, '\x80');
  seeds[at + "refused_gap"] = GoldenWith(34 + 8 + 8, 8);
  seeds[at + "refused_documents_backwards"] = GoldenWith(34 + 24 + 8, 3);
  seeds[at + "refused_first_document"] = GoldenWith(34 + 24, 1);
  seeds[at + "refused_last_document"] = GoldenWith(34 + 24 + 16, 1);
  seeds[at + "refused_bin_short"] = Pair(idx, bin.substr(1));
  seeds[at + "refused_bin_long"] = Pair(idx, bin + bin);
  seeds[at + "refused_header_cut"] = Pair(idx.substr(0, 33), bin);
}

// --- tokenizer.model --------------------------------------------------------

std::string With(ModelBuilder builder, void (*change)(ModelBuilder&)) {
  change(builder);
  return builder.Serialize();
}

void AddModels(SeedFiles& seeds) {
  const std::string at = "tokenizer_model/";
  ModelBuilder words;
  words.Add({"th", "the", "\xE2\x96\x81the", "qu", "\xE2\x96\x81", "t", "h",
             "e", "q", "u"});
  words.Add("[x]", 0, PieceType::kUserDefined);
  words.Add("ic", -9, PieceType::kUnused);
  seeds[at + "accepted_words"] = words.Serialize();
  seeds[at + "accepted_other_spaces"] = With(words, [](ModelBuilder& model) {
    model.proto.mutable_normalizer()->set_remove_extra_whitespaces(true);
    model.proto.mutable_normalizer()->set_escape_whitespaces(false);
    model.proto.mutable_normalizer()->set_add_dummy_prefix(false);
    model.proto.mutable_trainer()->set_unk_surface("?");
  });
  seeds[at + "accepted_bytes"] = ModelBuilder().Bytes().Serialize();
  seeds[at + "refused_unigram"] = With(words, [](ModelBuilder& model) {
    model.proto.mutable_trainer()->set_model_type(1);
  });
  seeds[at + "refused_normalizer"] = With(words, [](ModelBuilder& model) {
    model.proto.mutable_normalizer()->set_precompiled_charsmap("x");
  });
  seeds[at + "refused_suffix"] = With(words, [](ModelBuilder& model) {
    model.proto.mutable_trainer()->set_treat_whitespace_as_suffix(true);
  });
  seeds[at + "refused_no_bytes"] = With(words, [](ModelBuilder& model) {
    model.proto.mutable_trainer()->set_byte_fallback(true);
  });
  seeds[at + "refused_piece_twice"] =
      With(words, [](ModelBuilder& model) { model.Add("the", -1); });
  seeds[at + "refused_empty_piece"] =
      With(words, [](ModelBuilder& model) { model.Add("", -1); });
  seeds[at + "refused_no_utf8"] =
      With(words, [](ModelBuilder& model) { model.Add("\xC0\x80", -1); });
  seeds[at + "refused_two_unknown"] = With(words, [](ModelBuilder& model) {
    model.Add("<unk2>", 0, PieceType::kUnknown);
  });
  seeds[at + "refused_piece_type"] = With(words, [](ModelBuilder& model) {
    model.Add("x", 0, static_cast<PieceType>(7));
  });
  seeds[at + "refused_nothing"] = "";
  // Groups in groups, of a field that nobody knows.
  seeds[at + "refused_nesting"] = std::string(200, '\x3b');
}

// --- text -------------------------------------------------------------------

void AddLines(SeedFiles& seeds) {
  const std::string at = "text_lines/";
  seeds[at + "accepted_lines"] =
      "{\"text\":\"one \\u00e9 \\ud83d\\ude00\",\"id\":[1,{\"text\":2}]}\n"
      "\n  \n{\"id\":-1.5e3,\"text\":\"two\"}\r\n{\"text\":\"\"}";
  seeds[at + "accepted_byte_order_mark"] = "\xef\xbb\xbf{\"text\":\"a\"}\n";
  seeds[at + "refused_form_feed"] = "{\"text\":\"a\"}\f{\"text\":\"b\"}";
  seeds[at + "refused_no_text"] = "{\"txt\":\"a\"}\n";
  seeds[at + "refused_text_twice"] = "{\"text\":\"a\",\"text\":\"b\"}";
  seeds[at + "refused_no_string"] = "{\"text\":[\"a\"]}";
  seeds[at + "refused_no_object"] = "[{\"text\":\"a\"}]";
  seeds[at + "refused_half_a_pair"] = "{\"text\":\"\\ud83d\"}";
  seeds[at + "refused_not_utf8"] = "{\"text\":\"abcdefghijklmno\xff\"}";
  seeds[at + "refused_deep_nesting"] = "{\"x\":" + std::string(200, '[');
  seeds[at + "refused_huge_number"] = "{\"x\":1e999,\"text\":\"a\"}";
  seeds[at + "refused_empty"] = "";
  seeds[at + "refused_white_space"] = " \t\r\n";
  seeds[at + "refused_zero_byte"] = std::string("{\"text\":\"a\"}\0", 13);
}

}  // namespace

void AddDataSeeds(SeedFiles& seeds) {
  AddPairs(seeds);
  AddModels(seeds);
  AddLines(seeds);
}

}  // namespace moe
