#include "data/text/tokenizer.h"

#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/text/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/model_builder.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kS[] = "\xE2\x96\x81";  // U+2581

std::string Space(absl::string_view rest) { return absl::StrCat(kS, rest); }

ModelBuilder Words() {
  ModelBuilder builder;
  builder.Add({Space("a"), "ab", "bc", kS, "a", "b", "c", "\n"});
  return builder;
}

TEST(Tokenizer, MergesTheHighestScoreFirst) {
  const auto tokenizer = *Words().Load();
  EXPECT_EQ(EncodePieces(*tokenizer, "ab aab"), "_a b _a ab");
  EXPECT_EQ(EncodePieces(*tokenizer, "cabab"), "_ c ab ab");
  EXPECT_EQ(EncodePieces(*tokenizer, "a\na b"), "_a \n a _ b");
  EXPECT_THAT(EncodeIds(*tokenizer, ""), IsEmpty());
  EXPECT_EQ(EncodePieces(*tokenizer, "  "), "_ _ _");
}

TEST(Tokenizer, AppendsToTheIdsThatAreThere) {
  const auto tokenizer = *Words().Load();
  std::vector<int32_t> ids = {7};
  tokenizer->Encode("\xF0\x9F\xA4\x97 \xC3\xA9", ids);
  tokenizer->Encode("\xC3\xA9", ids);
  EXPECT_THAT(ids, ElementsAre(7, 6, 0, 6, 0, 6, 0));
}

TEST(Tokenizer, EqualScoresGoFromTheLeft) {
  ModelBuilder builder;
  builder.Add("a", -1).Add("aa", -5).Add("aaa", -5).Add("aaaa", -5);
  builder.proto.mutable_normalizer()->set_add_dummy_prefix(false);
  EXPECT_EQ(EncodePieces(**builder.Load(), "aaaaaaaaaa"), "aaaa aaaa aa");
}

TEST(Tokenizer, UnknownCharactersAreBytesOrOneUnknownId) {
  EXPECT_EQ(EncodePieces(**Words().Load(), "aXYbZ\xE6\xBC\xA2"),
            "_a <unk> b <unk>");
  ModelBuilder with_bytes = Words();
  EXPECT_EQ(EncodePieces(**with_bytes.Bytes().Load(), "aX\xE6\xBC\xA2"),
            "_a <0x58> <0xE6> <0xBC> <0xA2>");
}

TEST(Tokenizer, AByteThatIsNoUtf8CountsAsReplacementCharacter) {
  ModelBuilder builder = Words();
  const auto tokenizer = *builder.Bytes().Load();
  for (const char* text : {"\x80", "\xC0", "\xFF", "\xE2"}) {
    EXPECT_EQ(EncodePieces(*tokenizer, text), "_ <0xEF> <0xBF> <0xBD>");
  }
  const std::vector<int32_t> surrogate = EncodeIds(*tokenizer, "\xED\xA0\x80");
  EXPECT_EQ(surrogate.size(), 1 + 3 * 3);
  EXPECT_EQ(EncodePieces(*tokenizer, absl::string_view("a\0b", 3)),
            "_a <0x00> b");
}

TEST(Tokenizer, ControlAndByteNamesInTextAreText) {
  ModelBuilder builder;
  builder.Add({"<", "s", ">", "/", "0", "x", "4", "1", "u", "n", "k", kS});
  const auto tokenizer = *builder.Bytes().Load();
  EXPECT_EQ(EncodePieces(*tokenizer, "<s></s><unk><0x41>"),
            "_ < s > < / s > < u n k > < 0 x 4 1 >");
}

TEST(Tokenizer, UserDefinedPiecesComeFirstAndNeverMerge) {
  ModelBuilder builder;
  builder.Add({"ab", "abc", "bc", "a", "b", "c", kS});
  builder.Add("bX", 0, PieceType::kUserDefined);
  builder.Add("bXc", 0, PieceType::kUserDefined);
  const auto tokenizer = *builder.Load();
  EXPECT_EQ(EncodePieces(*tokenizer, "abXa"), "_ a bX a");
  EXPECT_EQ(EncodePieces(*tokenizer, "abXcabc"), "_ a bXc abc");
}

TEST(Tokenizer, UnusedPiecesAreMergedThroughAndTakenApart) {
  ModelBuilder builder;
  builder.Add("ab", -1, PieceType::kUnused).Add("abc", -2);
  builder.Add({kS, "a", "b", "c", "d"});
  EXPECT_EQ(EncodePieces(**builder.Load(), "abcabd"), "_ abc a b d");
}

TEST(Tokenizer, HonoursTheOptionsAboutWhiteSpace) {
  ModelBuilder builder = Words();
  auto* options = builder.proto.mutable_normalizer();
  options->set_add_dummy_prefix(false);
  EXPECT_EQ(EncodePieces(**builder.Load(), " ab  b "), "_a b _ _ b _");
  options->set_remove_extra_whitespaces(true);
  EXPECT_EQ(EncodePieces(**builder.Load(), "  ab   b  "), "ab _ b");
  EXPECT_THAT(EncodeIds(**builder.Load(), "   "), IsEmpty());
  options->set_add_dummy_prefix(true);
  EXPECT_EQ(EncodePieces(**builder.Load(), "  ab   b  "), "_a b _ b");
  options->set_escape_whitespaces(false);
  builder.Add(" ", 0);
  EXPECT_EQ(EncodePieces(**builder.Load(), "a b"), "  a   b");
}

TEST(Tokenizer, DecodeGivesTheTextBack) {
  ModelBuilder builder = Words();
  const auto tokenizer = *builder.Bytes().Load();
  for (const std::string text :
       {"", "a", " a", "  a ", "ab\nc\r\n\f", "\xE6\xBC\xA2 \xF0\x9F\xA4\x97",
        "X\tY", "\xEF\xBF\xBD", "<s> a </s>"}) {
    EXPECT_EQ(tokenizer->Decode(EncodeIds(*tokenizer, text)), text);
  }
}

TEST(Tokenizer, DecodeTakesAnyIds) {
  ModelBuilder builder = Words();
  const auto tokenizer = *builder.Bytes().Load();
  const int32_t a = 3;      // U+2581 a
  const int32_t byte = 11;  // <0x00>
  EXPECT_EQ(tokenizer->Decode({1, a, 2, a, 1}), "a a");
  EXPECT_EQ(tokenizer->Decode({a, 0, -1, 99999}),
            "a \xE2\x81\x87  \xE2\x81\x87  \xE2\x81\x87 ");
  EXPECT_EQ(tokenizer->Decode({byte + 0xE6, byte + 0xBC, a, byte + 0xA2}),
            "\xEF\xBF\xBD\xEF\xBF\xBD a\xEF\xBF\xBD");
  EXPECT_EQ(tokenizer->Decode({byte + 0xE6, byte + 0x41}),
            "\xEF\xBF\xBD"
            "A");
}

TEST(Tokenizer, TakesAMegabyteOfOneCharacter) {
  ModelBuilder builder;
  builder.Add({"a", "aa", "aaaa", "aaaaaaaa", kS});
  const auto tokenizer = *builder.Load();
  const std::string text(1 << 20, 'a');
  const std::vector<int32_t> ids = EncodeIds(*tokenizer, text);
  ASSERT_EQ(ids.size(), 1 + (1 << 20) / 8);
  EXPECT_EQ(tokenizer->Decode(ids), text);
}

TEST(Tokenizer, KnowsItsSpecialPieces) {
  const auto tokenizer = *Words().Load();
  EXPECT_EQ(tokenizer->vocab_size(), 11);
  EXPECT_EQ(tokenizer->unk_id(), 0);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->Piece(4), "ab");
  EXPECT_EQ(tokenizer->model_bytes(), Words().Serialize());
  ModelBuilder without = Words();
  without.proto.mutable_pieces(1)->set_type(4);
  without.proto.mutable_trainer()->set_eos_piece("<eos>");
  EXPECT_EQ((*without.Load())->bos_id(), -1);
  EXPECT_EQ((*without.Load())->eos_id(), -1);
}

// Merging by the definition, in quadratic time, with no cut and no table.
std::vector<int32_t> NaiveIds(const SentencePieceModelProto& proto,
                              const std::string& text) {
  std::vector<std::string> symbols;
  for (size_t at = 0; at < text.size();) {
    const size_t length =
        Utf8CharacterLength(absl::string_view(text).substr(at));
    symbols.push_back(text.substr(at, length));
    at += length;
  }
  const auto find = [&](const std::string& piece) {
    for (int id = 0; id < proto.pieces_size(); ++id) {
      if (proto.pieces(id).piece() == piece) return id;
    }
    return -1;
  };
  while (true) {
    int best = -1;
    size_t place = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const int id = find(symbols[i] + symbols[i + 1]);
      if (id >= 0 &&
          (best < 0 || proto.pieces(id).score() > proto.pieces(best).score())) {
        best = id;
        place = i;
      }
    }
    if (best < 0) break;
    symbols[place] += symbols[place + 1];
    symbols.erase(symbols.begin() + static_cast<int64_t>(place) + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& symbol : symbols) ids.push_back(find(symbol));
  return ids;
}

TEST(Tokenizer, AgreesWithNaiveMergingForRandomVocabularies) {
  std::mt19937 random(1);
  const std::vector<std::string> letters = {"a", "b", "c", ",", kS, "\xC3\xA9"};
  const auto word = [&](size_t most) {
    std::string text;
    for (size_t n = 1 + random() % most; n > 0; --n) {
      text += letters[random() % letters.size()];
    }
    return text;
  };
  for (int trial = 0; trial < 60; ++trial) {
    ModelBuilder builder;
    builder.proto.mutable_normalizer()->set_add_dummy_prefix(false);
    std::vector<std::string> pieces = letters;
    for (int i = 0; i < 40; ++i) pieces.push_back(word(4));
    std::sort(pieces.begin(), pieces.end());
    pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
    for (const std::string& piece : pieces) {
      builder.Add(piece, -static_cast<float>(random() % 20));
    }
    const auto tokenizer = *builder.Load();
    for (int i = 0; i < 20; ++i) {
      const std::string text = word(40);
      ASSERT_EQ(EncodeIds(*tokenizer, text), NaiveIds(builder.proto, text))
          << text;
    }
  }
}

TEST(StreamDecoder, GivesWholeCharactersAndWhatDecodeGives) {
  std::mt19937 random(2);
  for (const bool prefix : {false, true}) {
    for (const bool remove : {false, true}) {
      ModelBuilder builder = Words();
      builder.proto.mutable_normalizer()->set_add_dummy_prefix(prefix);
      builder.proto.mutable_normalizer()->set_remove_extra_whitespaces(remove);
      const auto tokenizer = *builder.Bytes().Load();
      for (int trial = 0; trial < 500; ++trial) {
        std::vector<int32_t> ids(random() % 20);
        for (int32_t& id : ids) id = static_cast<int32_t>(random() % 270);
        StreamDecoder decoder(*tokenizer);
        std::string text;
        for (const int32_t id : ids) {
          const std::string more = decoder.Push(id);
          ASSERT_EQ(ValidUtf8Prefix(more), more.size());
          text += more;
        }
        ASSERT_EQ(text + decoder.Finish(), tokenizer->Decode(ids));
      }
    }
  }
}

TEST(StreamDecoder, WaitsForACharactersLastByte) {
  ModelBuilder builder = Words();
  const auto tokenizer = *builder.Bytes().Load();
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.Push(3), "a");
  for (const int byte : {0xF0, 0x9F, 0xA4}) {
    EXPECT_EQ(decoder.Push(11 + byte), "");
  }
  EXPECT_EQ(decoder.Push(11 + 0x97), "\xF0\x9F\xA4\x97");
  EXPECT_EQ(decoder.Push(11 + 0xF0), "");
  EXPECT_EQ(decoder.Finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(decoder.Finish(), "");
}

TEST(Tokenizer, ThreadsMayShareOne) {
  ModelBuilder builder = Words();
  const auto tokenizer = *builder.Bytes().Load();
  const std::string text = "ab aab\ncab caX abba b";
  const std::vector<int32_t> expected = EncodeIds(*tokenizer, text);
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        if (EncodeIds(*tokenizer, text) != expected) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

}  // namespace
}  // namespace moe
