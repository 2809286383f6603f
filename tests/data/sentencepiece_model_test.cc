#include "data/text/sentencepiece_model.h"

#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/model_builder.h"
#include "tests/data/temporary_directory.h"

namespace moe {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

ModelBuilder Small() {
  ModelBuilder builder;
  builder.Add({kSpaceSymbol, "a", "b", "ab"});
  builder.Bytes();
  return builder;
}

TEST(SentencePieceModel, ReadsPiecesAndOptions) {
  const SentencePieceModel model =
      *ParseSentencePieceModel(Small().Serialize());
  ASSERT_EQ(model.pieces.size(), 3 + 4 + 256);
  EXPECT_EQ(model.pieces[6].text, "ab");
  EXPECT_EQ(model.pieces[6].score, -6);
  EXPECT_EQ(model.pieces[1].type, PieceType::kControl);
  EXPECT_EQ(model.byte_ids[0x41], 7 + 0x41);
  EXPECT_TRUE(model.byte_fallback);
  EXPECT_TRUE(model.add_dummy_prefix);
  EXPECT_FALSE(model.remove_extra_whitespaces);
  EXPECT_EQ(model.unk_surface, " \xE2\x81\x87 ");
}

// The error of the small model after `change`.
absl::Status ErrorAfter(
    const std::function<void(SentencePieceModelProto&)>& change) {
  ModelBuilder builder = Small();
  change(builder.proto);
  return ParseSentencePieceModel(builder.Serialize()).status();
}

TEST(SentencePieceModel, OtherKindsAreNamed) {
  const auto expect = [](const std::string& what, const auto& change) {
    const absl::Status status = ErrorAfter(change);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << what;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  };
  using Proto = SentencePieceModelProto;
  expect("type is unigram",
         [](Proto& p) { p.mutable_trainer()->set_model_type(1); });
  expect("type is unigram", [](Proto& p) { p.clear_trainer(); });
  expect("type is word",
         [](Proto& p) { p.mutable_trainer()->set_model_type(3); });
  expect("type is char",
         [](Proto& p) { p.mutable_trainer()->set_model_type(4); });
  expect("normalizer is nmt_nfkc, must be identity", [](Proto& p) {
    p.mutable_normalizer()->set_name("nmt_nfkc");
    p.mutable_normalizer()->set_precompiled_charsmap("x");
  });
  expect("denormalizer is user_defined", [](Proto& p) {
    p.mutable_denormalizer()->set_name("user_defined");
    p.mutable_denormalizer()->set_precompiled_charsmap("x");
  });
  expect("treat_whitespace_as_suffix", [](Proto& p) {
    p.mutable_trainer()->set_treat_whitespace_as_suffix(true);
  });
}

TEST(SentencePieceModel, ContradictionsAreNamed) {
  const auto expect = [](const std::string& what, const auto& change) {
    const absl::Status status = ErrorAfter(change);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << what;
    EXPECT_THAT(std::string(status.message()),
                StartsWith("is not a SentencePiece model: "));
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  };
  using Proto = SentencePieceModelProto;
  expect("no pieces", [](Proto& p) { p.clear_pieces(); });
  expect("model_type is 9",
         [](Proto& p) { p.mutable_trainer()->set_model_type(9); });
  expect("no unknown piece",
         [](Proto& p) { p.mutable_pieces(0)->set_type(3); });
  expect("pieces 0 and 4 are both the unknown",
         [](Proto& p) { p.mutable_pieces(4)->set_type(2); });
  expect("pieces 4 and 6 are both a",
         [](Proto& p) { p.mutable_pieces(6)->set_piece("a"); });
  expect("piece 4 is empty",
         [](Proto& p) { p.mutable_pieces(4)->clear_piece(); });
  expect("piece 4, \\377, is not UTF-8",
         [](Proto& p) { p.mutable_pieces(4)->set_piece("\xFF"); });
  expect("piece 4, a\\000, is not UTF-8", [](Proto& p) {
    p.mutable_pieces(4)->set_piece(std::string("a\0", 2));
  });
  expect("piece 4 has 3000 bytes, must be at most 2048", [](Proto& p) {
    p.mutable_pieces(4)->set_piece(std::string(3000, 'x'));
  });
  expect("type of piece 4 is 7",
         [](Proto& p) { p.mutable_pieces(4)->set_type(7); });
  expect("score of piece 4", [](Proto& p) {
    p.mutable_pieces(4)->set_score(std::numeric_limits<float>::quiet_NaN());
  });
  expect("255 byte pieces, must be 256 with",
         [](Proto& p) { p.mutable_pieces(8)->set_type(1); });
  expect("not of the form <0xNN>",
         [](Proto& p) { p.mutable_pieces(8)->set_piece("<0x1>"); });
  expect("256 byte pieces, must be 0 without",
         [](Proto& p) { p.mutable_trainer()->set_byte_fallback(false); });
}

TEST(SentencePieceModel, FilesOfOtherKindsAreRefusedByName) {
  TemporaryDirectory directory;
  for (const std::string& contents :
       {std::string(), std::string("{\"model\": {}}"), std::string("# text\n"),
        std::string(100, '\0'), std::string(100, '\xFF')}) {
    const std::string path = directory.Write("x.model", contents);
    const absl::Status status = Tokenizer::Load(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << contents;
    EXPECT_THAT(std::string(status.message()),
                StartsWith(path + ": is not a SentencePiece model"));
  }
  EXPECT_EQ(Tokenizer::Load(directory.Path("none")).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(Tokenizer::Load(directory.path()).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(SentencePieceModel, AnyDamageIsAnErrorOrAModelThatWorks) {
  std::mt19937 random(3);
  const std::string good = Small().Serialize();
  int loaded = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    std::string bytes = good;
    for (size_t n = 1 + random() % 4; n > 0; --n) {
      // The front, where pieces of all types and the lengths of fields are,
      // more often than the bytes behind.
      const size_t at = random() % (random() % 2 ? 120 : bytes.size());
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(at, 1 + random() % 8);
          break;
        case 2:
          bytes.insert(at, 1, static_cast<char>(random()));
          break;
        default:
          bytes[at] = static_cast<char>(bytes[at] ^ 1 << random() % 8);
      }
    }
    if (random() % 8 == 0) bytes.resize(random() % bytes.size());
    const auto tokenizer = Tokenizer::FromBytes(bytes);
    if (!tokenizer.ok()) {
      EXPECT_FALSE(tokenizer.status().message().empty());
      continue;
    }
    ++loaded;
    const std::vector<int32_t> ids =
        EncodeIds(**tokenizer, "ab  a b\n\xFF\xE2\x96 aab");
    for (const int32_t id : ids) {
      ASSERT_GE(id, 0);
      ASSERT_LT(id, (*tokenizer)->vocab_size());
    }
    (*tokenizer)->Decode(ids);
  }
  EXPECT_GT(loaded, 100);  // else this says nothing about models that work
}

}  // namespace
}  // namespace moe
