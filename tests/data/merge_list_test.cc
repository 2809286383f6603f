#include "data/text/merge_list.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "data/text/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/model_builder.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// "a+b" for each merge.
std::vector<std::string> Texts(const ModelBuilder& builder) {
  const auto tokenizer = *builder.Load();
  const std::vector<ListedMerge> list = *MergeList(tokenizer->model());
  std::vector<std::string> texts;
  for (const ListedMerge& merge : list) {
    texts.push_back(absl::StrCat(tokenizer->Piece(merge.left), "+",
                                 tokenizer->Piece(merge.right)));
    EXPECT_EQ(absl::StrReplaceAll(texts.back(), {{"+", ""}}),
              tokenizer->Piece(merge.piece));
  }
  return texts;
}

TEST(MergeList, HasOfEachPieceTheOnlyMergeThatMakesIt) {
  ModelBuilder builder;
  builder.Add({"ab", "abc", "bc", "dab", "a", "b", "c", "d"});
  EXPECT_THAT(Texts(builder), ElementsAre("a+b", "ab+c", "b+c", "d+ab"));
}

TEST(MergeList, HasNoPieceThatTextDoesNotBecome) {
  ModelBuilder builder;  // "bc" goes first, and "ab" is then not there
  builder.Add({"bc", "ab", "abc", "xyz", "a", "b", "c", "x", "y", "z"});
  EXPECT_THAT(Texts(builder), ElementsAre("b+c", "a+b", "a+bc"));
  ModelBuilder frozen;
  frozen.Add("ab", 0, PieceType::kUserDefined);
  frozen.Add({"abc", "cb", "a", "b", "c"});
  EXPECT_THAT(Texts(frozen), ElementsAre("c+b"));
}

TEST(MergeList, TakesRunsOfOneScoreTheLongestFirst) {
  ModelBuilder builder;  // as Mixtral's spaces: 2 to 6, and 8
  for (const int length : {8, 2, 5, 3, 6, 4})
    builder.Add(std::string(static_cast<size_t>(length), 'c'), -1e9f);
  builder.Add({"ab", "a", "b", "c"});
  EXPECT_THAT(Texts(builder), ElementsAre("a+b", "cccccc+cc", "ccccc+c",
                                          "cccc+c", "ccc+c", "cc+c", "c+c"));
}

TEST(MergeList, RefusesWhereThePlaceDecides) {
  const auto why = [](const ModelBuilder& builder) {
    const auto tokenizer = *builder.Load();
    const auto list = MergeList(tokenizer->model());
    EXPECT_TRUE(absl::IsUnimplemented(list.status()));
    return std::string(list.status().message());
  };
  ModelBuilder overlap;
  overlap.Add("ab", -1).Add("bc", -1).Add({"a", "b", "c"});
  EXPECT_THAT(why(overlap), HasSubstr("\"ab\") and piece 4 (\"bc\")"));
  ModelBuilder twice;  // "bb" and "bc" want the same "b", whatever "ab" does
  twice.Add("bb", -1).Add("bc", -1).Add({"b", "c"});
  EXPECT_THAT(why(twice), HasSubstr("\"bb\") and piece 4 (\"bc\")"));
  ModelBuilder part;  // "ab" makes a better merge possible, beside another "cd"
  part.Add("ab", -5).Add("cd", -5).Add("abc", -1).Add({"a", "b", "c", "d"});
  EXPECT_THAT(why(part), HasSubstr("\"ab\") and piece 5 (\"abc\")"));
}

// Merges by the list, as tokenizers does: the first that is possible, at its
// leftmost place.
std::vector<int32_t> EncodeByList(const std::vector<ListedMerge>& list,
                                  std::vector<int32_t> ids) {
  while (true) {
    size_t best = list.size();
    size_t place = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      for (size_t rank = 0; rank < best; ++rank) {
        if (list[rank].left != ids[i] || list[rank].right != ids[i + 1])
          continue;
        best = rank;
        place = i;
      }
    }
    if (best == list.size()) return ids;
    ids[place] = list[best].piece;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(place) + 1);
  }
}

std::string RandomText(std::mt19937& random, size_t letters, size_t length) {
  std::string text(length, ' ');
  for (char& c : text) c = static_cast<char>('a' + random() % letters);
  return text;
}

// Vocabularies without sense, of few letters, with scores that are often equal.
struct RandomVocabulary {
  explicit RandomVocabulary(std::mt19937& random) {
    builder.proto.mutable_normalizer()->set_add_dummy_prefix(false);
    letters = random() % 4;
    const bool is_runs = letters == 0;  // of one letter and one score
    if (is_runs) letters = 1;
    const auto scores = static_cast<unsigned>(is_runs ? 1 : 1 + random() % 20);
    absl::flat_hash_set<std::string> texts;
    for (size_t i = 0; i < letters; ++i)
      texts.insert(std::string(1, static_cast<char>('a' + i)));
    for (size_t more = 1 + random() % 8; more > 0; --more)
      texts.insert(RandomText(random, letters, 2 + random() % 7));
    pieces.assign(texts.begin(), texts.end());
    std::sort(pieces.begin(), pieces.end());
    absl::flat_hash_set<float> different;
    for (const std::string& piece : pieces) {
      const float score = -static_cast<float>(random() % scores);
      builder.Add(piece, score);
      if (piece.size() > 1) has_ties |= !different.insert(score).second;
    }
  }

  ModelBuilder builder;
  size_t letters;
  std::vector<std::string> pieces;
  bool has_ties = false;
};

TEST(MergeList, MeansTheModelOnRandomVocabulariesOrIsRefused) {
  std::mt19937 random(3);
  int lists = 0;
  int with_ties = 0;
  for (int round = 0; round < 3000; ++round) {
    const RandomVocabulary vocabulary(random);
    const auto tokenizer = *vocabulary.builder.Load();
    const auto list = MergeList(tokenizer->model());
    if (!list.ok()) continue;
    ++lists;
    if (vocabulary.has_ties) ++with_ties;
    for (int i = 0; i < 30; ++i) {
      const std::string text =
          RandomText(random, vocabulary.letters, random() % 40);
      std::vector<int32_t> ids;
      for (const char c : text)
        ids.push_back(EncodeIds(*tokenizer, std::string(1, c))[0]);
      ASSERT_EQ(EncodeByList(*list, ids), EncodeIds(*tokenizer, text))
          << text << " by " << absl::StrJoin(vocabulary.pieces, " ");
    }
  }
  EXPECT_GT(lists, 1000);
  EXPECT_GT(with_ties, 100);
}

}  // namespace
}  // namespace moe
