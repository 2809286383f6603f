#include "data/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <vector>

#include "tests/data/corpus_fixture.h"

namespace moe {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(CorpusTest, TextBecomesSamplesOfItsTokens) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", "the cat and the owl\fanother one"));
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  std::vector<int32_t> stream;
  tokenizer_->Encode("the cat and the owl", stream);
  stream.push_back(tokenizer_->eos_id());
  tokenizer_->Encode("another one", stream);
  stream.push_back(tokenizer_->eos_id());
  EXPECT_EQ(InputsInFileOrder((*corpus)->train()), Whole(stream));
  EXPECT_EQ((*corpus)->valid(), nullptr);
  EXPECT_EQ((*corpus)->tokenizer()->model_bytes(), tokenizer_->model_bytes());
}

TEST_F(CorpusTest, TokensTrainAsTheyAreWithoutATokenizer) {
  const Documents documents = CountingDocuments({30, 1, 60});
  WriteDataset(directory_.Path("p"), documents);
  for (const char* name : {"p", "p.bin", "p.idx"}) {
    options_.config.clear_train();
    AddTrain(directory_.Path(name));
    auto corpus = PrepareAndOpen();
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    EXPECT_EQ((*corpus)->tokenizer(), nullptr);
    EXPECT_EQ(InputsInFileOrder((*corpus)->train()),
              Whole(Concatenate(documents)));
  }
  EXPECT_FALSE(PosixFileSystem().Exists(options_.cache_directory));
}

TEST_F(CorpusTest, BosIsInsertedAtDocumentsAndNeverStored) {
  UseTokenizer();
  const Documents documents = CountingDocuments({30, 1, 60});
  WriteDataset(directory_.Path("p"), documents);
  AddTrain(directory_.Path("p"));
  options_.config.set_add_bos(true);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ(InputsInFileOrder((*corpus)->train()),
            Whole(Concatenate(documents, tokenizer_->bos_id())));
}

TEST_F(CorpusTest, DocumentsOfATextStandApartOnDemand) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", "an\fthe\fan owl"));
  std::vector<int32_t> ends;  // of the first two documents
  for (const char* document : {"an", "the"}) {
    std::vector<int32_t> ids;
    tokenizer_->Encode(document, ids);
    const int32_t size = static_cast<int32_t>(ids.size()) + 1;  // with </s>
    ends.push_back((ends.empty() ? 0 : ends.back()) + size);
  }
  ASSERT_LT(ends[1], kLength);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  std::vector<int32_t> inputs(kLength);
  std::vector<int32_t> targets(kLength);
  std::vector<int32_t> positions(kLength);
  ASSERT_TRUE((*corpus)
                  ->train()
                  .Read(0, absl::MakeSpan(inputs), absl::MakeSpan(targets),
                        absl::MakeSpan(positions))
                  .ok());
  for (int32_t t = 0; t < kLength; ++t) {
    const size_t i = static_cast<size_t>(t);
    const int32_t begin = t < ends[0] ? 0 : t < ends[1] ? ends[0] : ends[1];
    EXPECT_EQ(positions[i], t - begin);
    const bool last = t + 1 == ends[0] || t + 1 == ends[1];
    EXPECT_EQ(targets[i] == -1, last);
    EXPECT_EQ(inputs[i] == tokenizer_->eos_id(), last);
  }
}

TEST_F(CorpusTest, ValidationDataOfItsOwnLeavesTrainWhole) {
  const Documents train = CountingDocuments({30, 31, 32});
  const Documents valid = CountingDocuments({20, 21}, 200);
  WriteDataset(directory_.Path("t"), train);
  WriteDataset(directory_.Path("v"), valid);
  AddTrain(directory_.Path("t"));
  AddValid(directory_.Path("v"));
  options_.config.set_valid_fraction(0.5);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ(InputsInFileOrder((*corpus)->train()), Whole(Concatenate(train)));
  EXPECT_EQ(InputsInFileOrder(*(*corpus)->valid()), Whole(Concatenate(valid)));
}

TEST_F(CorpusTest, BlendsTakeTheirShares) {
  WriteDataset(directory_.Path("a"), CountingDocuments({71}, 0));
  WriteDataset(directory_.Path("b"), CountingDocuments({71}, 100));
  AddTrain(directory_.Path("a"), 3);
  AddTrain(directory_.Path("b"), 1);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  int of_b = 0;
  for (int64_t i = 0; i < 100; ++i) {
    if ((*corpus)->train().SampleAt(i) >= 10) ++of_b;
  }
  EXPECT_EQ(of_b, 25);
}

TEST_F(CorpusTest, ASecondStartUsesTheCache) {
  UseTokenizer();
  const std::string path = directory_.Write("a.txt", GeneratedText(5000, 1));
  AddTrain(path);
  ASSERT_TRUE(Prepare().ok());
  EXPECT_THAT(work_, testing::ElementsAre("tokenizing " + path));
  ASSERT_TRUE(Prepare().ok());
  EXPECT_THAT(work_, IsEmpty());
}

TEST_F(CorpusTest, ATextThatIsNotUtf8IsToldOfOnce) {
  UseTokenizer();
  const std::string path =
      directory_.Write("a.txt", GeneratedText(5000, 1) + "\xE9.");
  AddTrain(path);
  ASSERT_TRUE(Prepare().ok());
  EXPECT_THAT(said_, testing::ElementsAre(testing::HasSubstr(
                         path + " is not all UTF-8: 1 byte is read as U+FFFD, "
                                "at offset ")));
  ASSERT_TRUE(Prepare().ok());
  EXPECT_THAT(said_, IsEmpty());
}

TEST_F(CorpusTest, ATextThatChangedIsTokenizedAnewInPlaceOfTheOld) {
  UseTokenizer();
  const std::string path = directory_.Write("a.txt", "the cat and the owl");
  AddTrain(path);
  ASSERT_TRUE(PrepareAndOpen().ok());
  const auto names = *PosixFileSystem().List(options_.cache_directory);
  directory_.Write("a.txt", "the cow and the owl");  // the same size
  std::filesystem::last_write_time(
      path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
  const absl::Status stale = Corpus::Open(options_).status();
  EXPECT_EQ(stale.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(stale.message()), HasSubstr("a.txt changed"));
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  std::vector<int32_t> stream;
  tokenizer_->Encode("the cow and the owl", stream);
  stream.push_back(tokenizer_->eos_id());
  EXPECT_EQ(InputsInFileOrder((*corpus)->train()), Whole(stream));
  EXPECT_EQ(*PosixFileSystem().List(options_.cache_directory), names);
}

// A text that was put there with the size and the time of the one before.
TEST_F(CorpusTest, ATextOfTheSameSizeAndTimeIsNoticedByItsInode) {
  UseTokenizer();
  const std::string path = directory_.Write("a.txt", "the cat and the owl");
  const auto time = std::filesystem::last_write_time(path);
  AddTrain(path);
  ASSERT_TRUE(PrepareAndOpen().ok());
  std::filesystem::rename(directory_.Write("b.txt", "the cow and the owl"),
                          path);
  std::filesystem::last_write_time(path, time);
  ASSERT_TRUE(Prepare().ok());
  EXPECT_FALSE(work_.empty());
}

TEST_F(CorpusTest, ADamagedCacheIsMadeAnew) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", GeneratedText(5000, 1)));
  ASSERT_TRUE(Prepare().ok());
  const auto names = *PosixFileSystem().List(options_.cache_directory);
  for (const std::string& name : names) {
    const std::string whole = directory_.Read("run/data/" + name);
    std::string flipped = whole;
    flipped[flipped.size() / 2] ^= 1;
    for (const std::string& damaged :
         {flipped, whole.substr(0, whole.size() / 2), std::string()}) {
      Overwrite("run/data/" + name, damaged);
      ASSERT_TRUE(PrepareAndOpen().ok()) << name;
      EXPECT_FALSE(work_.empty()) << name << " of " << damaged.size();
      if (name.ends_with(".bin") || name.ends_with(".idx")) {
        EXPECT_EQ(directory_.Read("run/data/" + name), whole);
      }
    }
  }
}

TEST_F(CorpusTest, ACopiedCacheIsTaken) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", GeneratedText(5000, 1)));
  ASSERT_TRUE(Prepare().ok());
  const std::string moved = directory_.Path("moved");
  std::filesystem::copy(options_.cache_directory, moved);
  options_.cache_directory = moved;
  EXPECT_TRUE(PrepareAndOpen().ok());
  EXPECT_THAT(work_, IsEmpty());
}

TEST_F(CorpusTest, ATokenizerOfACheckpointStandsInTheirPlace) {
  UseTokenizer();
  const std::string text = directory_.Write("a.txt", GeneratedText(5000, 1));
  AddTrain(text);
  options_.tokenizer_path = options_.config.tokenizer();
  for (const std::string tokenizer : {"", "gone.model"}) {
    options_.config.set_tokenizer(tokenizer);
    auto corpus = PrepareAndOpen();
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    EXPECT_EQ((*corpus)->tokenizer()->model_bytes(), tokenizer_->model_bytes());
  }
  EXPECT_THAT(work_, IsEmpty()) << "nothing is learned";
}

TEST_F(CorpusTest, AnotherTokenizerHasACacheOfItsOwn) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", GeneratedText(5000, 1)));
  ASSERT_TRUE(Prepare().ok());
  const std::string other = directory_.Write(
      "other.model", ModelBuilder().Bytes().Add({"ka"}).Serialize());
  options_.config.set_tokenizer(other);
  ASSERT_TRUE(Prepare().ok());
  EXPECT_FALSE(work_.empty());
  options_.config.set_tokenizer(directory_.Path("t.model"));
  ASSERT_TRUE(Prepare().ok());
  EXPECT_TRUE(work_.empty());
}

TEST_F(CorpusTest, AHalfWrittenCacheIsMadeAnew) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", GeneratedText(5000, 1)));
  ASSERT_TRUE(Prepare().ok());
  const auto names = *PosixFileSystem().List(options_.cache_directory);
  for (const std::string& name : names) {
    std::filesystem::remove(JoinPath(options_.cache_directory, name));
    EXPECT_FALSE(Corpus::Open(options_).ok()) << name;
    EXPECT_TRUE(PrepareAndOpen().ok()) << name;
    EXPECT_FALSE(work_.empty()) << name;
  }
}

TEST_F(CorpusTest, AVocabularyIsLearnedWhenNoneIsNamed) {
  options_.vocab_size = 400;
  AddTrain(directory_.Write("a.txt", GeneratedText(200000, 1)));
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  ASSERT_NE((*corpus)->tokenizer(), nullptr);
  EXPECT_EQ((*corpus)->tokenizer()->vocab_size(), 400);
  ASSERT_TRUE(Prepare().ok());
  EXPECT_THAT(work_, IsEmpty());
}

TEST_F(CorpusTest, ShareNamesLieInTheShareDirectory) {
  UseTokenizer();
  std::filesystem::create_directory(directory_.Path("share"));
  directory_.Write("share/k.txt", "the cat and the owl");
  AddTrain("share:k.txt");
  EXPECT_TRUE(PrepareAndOpen().ok());
  options_.config.clear_train();
  AddTrain("share:none.txt");
  ExpectRefused(
      absl::StatusCode::kNotFound,
      "data.train: there is no file " + directory_.Path("share/none.txt"));
}

}  // namespace
}  // namespace moe
