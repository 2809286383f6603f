// Our tokenizer against spm_encode and spm_decode, id for id, on texts that are
// hostile and texts that are long, by models of many kinds.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "data/text/sentencepiece_model.pb.h"
#include "data/text/tokenizer.h"
#include "data/text/tokenizer_trainer.h"
#include "gtest/gtest.h"
#include "tests/data/generated_text.h"
#include "tests/data/hostile_lines.h"
#include "tests/data/model_builder.h"
#include "tests/data/sentencepiece_programs.h"
#include "tests/data/temporary_directory.h"

namespace moe {
namespace {

using Proto = SentencePieceModelProto;

std::string TrainOn(const std::string& text, int vocab_size) {
  TemporaryDirectory directory;
  TokenizerTrainerOptions options;
  options.inputs = {directory.Write("text.txt", text)};
  options.vocab_size = vocab_size;
  options.output = directory.Path("model");
  EXPECT_EQ(TrainTokenizer(options), absl::OkStatus());
  return directory.Read("model");
}

void ExpectSameIds(const std::string& model, const std::string& lines) {
  const auto tokenizer = Tokenizer::FromBytes(model);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto theirs = SentencePiecePrograms(model).Encode(lines);
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  std::vector<absl::string_view> texts = absl::StrSplit(lines, '\n');
  if (texts.back().empty()) texts.pop_back();
  ASSERT_EQ(theirs->size(), texts.size());
  int different = 0;
  for (size_t i = 0; i < texts.size() && different < 5; ++i) {
    const std::vector<int32_t> ours = EncodeIds(**tokenizer, texts[i]);
    if (ours == (*theirs)[i]) continue;
    ++different;
    ADD_FAILURE() << "line " << i << ": " << texts[i].substr(0, 200)
                  << "\nours   " << absl::StrJoin(ours, " ").substr(0, 400)
                  << "\ntheirs "
                  << absl::StrJoin((*theirs)[i], " ").substr(0, 400);
  }
}

void ExpectSameTexts(const std::string& model, unsigned seed) {
  const auto tokenizer = *Tokenizer::FromBytes(model);
  std::mt19937 random(seed);
  const uint32_t size = static_cast<uint32_t>(tokenizer->vocab_size());
  std::vector<std::vector<int32_t>> lists(1500);
  std::string ours;
  for (std::vector<int32_t>& ids : lists) {
    ids.resize(random() % 25);
    for (int32_t& id : ids) {
      // The control and byte pieces at the front as often as all others.
      id = static_cast<int32_t>(random() % (random() % 2 ? size : 270));
    }
    absl::StrAppend(&ours, tokenizer->Decode(ids), "\n");
  }
  const auto theirs = SentencePiecePrograms(model).Decode(lists);
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  const auto [our_end, their_end] =
      std::mismatch(ours.begin(), ours.end(), theirs->begin(), theirs->end());
  EXPECT_TRUE(our_end == ours.end() && their_end == theirs->end())
      << "differs behind "
      << std::string(ours.begin(), our_end)
             .substr(static_cast<size_t>(
                 std::max<int64_t>(0, our_end - ours.begin() - 60)));
}

struct Variant {
  std::string name;
  std::function<void(Proto&)> change;
};

class TokenizerOracleTest : public ::testing::TestWithParam<Variant> {};

TEST_P(TokenizerOracleTest, AgreesOnHostileText) {
  static const std::string& text = *new std::string(GeneratedText(200000, 5));
  static const std::string& trained = *new std::string(TrainOn(text, 700));
  Proto proto;
  ASSERT_TRUE(proto.ParseFromString(trained));
  GetParam().change(proto);
  const std::string model = proto.SerializeAsString();
  ExpectSameIds(model, absl::StrJoin(HostileLines(text, 6), "\n") + "\n");
  ExpectSameIds(model, text);
  ExpectSameTexts(model, 7);
}

// Every n-th normal piece becomes another type.
std::function<void(Proto&)> Every(int n, PieceType type) {
  return [=](Proto& proto) {
    for (int id = 0; id < proto.pieces_size(); id += n) {
      if (proto.pieces(id).type() == 1) {
        proto.mutable_pieces(id)->set_type(static_cast<int>(type));
      }
    }
  };
}

void WithoutBytes(Proto& proto) {
  proto.mutable_trainer()->set_byte_fallback(false);
  for (Proto::Piece& piece : *proto.mutable_pieces()) {
    if (piece.type() == 6) piece.set_type(1);
  }
}

void WithTies(Proto& proto) {
  for (Proto::Piece& piece : *proto.mutable_pieces()) {
    piece.set_score(static_cast<float>(static_cast<int>(piece.score()) / 50));
  }
}

// Characters that pieces hold but that are no pieces themselves.
void WithoutSomeCharacters(Proto& proto) {
  for (Proto::Piece& piece : *proto.mutable_pieces()) {
    if (piece.piece() == "e" || piece.piece() == "k" || piece.piece() == "t") {
      piece.set_piece(absl::StrCat("never seen ", piece.piece()));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, TokenizerOracleTest,
    ::testing::Values(
        Variant{"AsTrained", [](Proto&) {}},
        Variant{"WithoutBytes", WithoutBytes}, Variant{"WithTies", WithTies},
        Variant{"WithoutSomeCharacters", WithoutSomeCharacters},
        Variant{"Unused", Every(3, PieceType::kUnused)},
        Variant{"UserDefined", Every(7, PieceType::kUserDefined)},
        Variant{"WithoutPrefix",
                [](Proto& proto) {
                  proto.mutable_normalizer()->set_add_dummy_prefix(false);
                }},
        Variant{"WithoutExtraSpaces",
                [](Proto& proto) {
                  Every(9, PieceType::kUserDefined)(proto);
                  proto.mutable_normalizer()->set_remove_extra_whitespaces(
                      true);
                }},
        Variant{"WithPlainSpaces",
                [](Proto& proto) {
                  proto.mutable_normalizer()->set_escape_whitespaces(false);
                }},
        Variant{"UnknownSurface",
                [](Proto& proto) {
                  WithoutBytes(proto);
                  proto.mutable_trainer()->set_unk_surface("<?>");
                }}),
    [](const auto& variant) { return variant.param.name; });

// The corpus beside the repository, which is not part of it.
std::string CorpusFile(const std::string& name, size_t max_bytes) {
  std::ifstream file(absl::StrCat(MOE_CORPUS_DIRECTORY, "/", name),
                     std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  if (text.size() > max_bytes) text.resize(text.rfind('\n', max_bytes) + 1);
  return text;
}

class MixtralTokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(MOE_CORPUS_DIRECTORY)) {
      GTEST_SKIP() << "no corpus in " << MOE_CORPUS_DIRECTORY;
    }
    model_ = CorpusFile("mixtral-tokenizer.model", SIZE_MAX);
  }

  std::string model_;
};

class CorpusTest : public MixtralTokenizerTest,
                   public ::testing::WithParamInterface<const char*> {};

constexpr size_t kCorpusBytes = 3 << 20;  // of the largest file, for time

TEST_P(CorpusTest, MixtralsTokenizerAgrees) {
  ExpectSameIds(model_, CorpusFile(GetParam(), kCorpusBytes));
}

TEST_P(CorpusTest, AFreshVocabularyAgrees) {
  static const std::string& model = *new std::string(
      TrainOn(CorpusFile("tinyshakespeare.txt", kCorpusBytes), 2048));
  ExpectSameIds(model, CorpusFile(GetParam(), kCorpusBytes));
}

INSTANTIATE_TEST_SUITE_P(Files, CorpusTest,
                         ::testing::Values("books-train.txt", "books-valid.txt",
                                           "books-valid.jsonl",
                                           "tinyshakespeare.txt"),
                         [](const auto& file) {
                           std::string name = file.param;
                           std::erase_if(name, [](char c) {
                             return c == '-' || c == '.';
                           });
                           return name;
                         });

TEST_F(MixtralTokenizerTest, AgreesOnHostileText) {
  const std::string text = CorpusFile("books-valid.txt", SIZE_MAX);
  ExpectSameIds(model_, absl::StrJoin(HostileLines(text, 8), "\n") + "\n");
  ExpectSameTexts(model_, 9);
}

TEST_F(MixtralTokenizerTest, EncodesLineEndsAsBytesInsideADocument) {
  const auto tokenizer = *Tokenizer::FromBytes(model_);
  EXPECT_EQ(EncodePieces(*tokenizer, "Hello  two\r\nlines\n\nof text\n"),
            "_Hello _ _two \r <0x0A> lines <0x0A> <0x0A> of _text <0x0A>");
  EXPECT_EQ(absl::StrJoin(
                EncodeIds(*tokenizer,
                          "Hello world, to be or not to be: that is 2024 the "
                          "question \xF0\x9F\xA4\x97"),
                " "),
            "22557 1526 28725 298 347 442 459 298 347 28747 369 349 28705 "
            "28750 28734 28750 28781 272 2996 28705 243 162 167 154");
}

TEST_F(MixtralTokenizerTest, DecodeGivesWholeFilesBack) {
  const auto tokenizer = *Tokenizer::FromBytes(model_);
  for (const char* name : {"books-valid.txt", "tinyshakespeare.txt"}) {
    const std::string text = CorpusFile(name, SIZE_MAX);
    EXPECT_TRUE(tokenizer->Decode(EncodeIds(*tokenizer, text)) == text) << name;
  }
}

}  // namespace
}  // namespace moe
